//! Who computes where while something is measured.

use std::io;

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::Failed;

/// Functions on a core of their own, as on AWS they have their own processor: neither what measures them nor the emulator
/// takes it from them. Until this is dropped.
pub struct Apart {
    before: CpuSet,
    of_functions: CpuSet,
}

impl Apart {
    /// Takes this thread, and what it starts from now on, off one core. `None` where there is no other.
    ///
    /// # Errors
    /// This returns an error when the system does not allow it.
    pub fn begin() -> io::Result<Option<Self>> {
        let before = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core));
        let (Some(first), Some(_)) = (cores.next(), cores.next()) else { return Ok(None) };
        let (mut of_functions, mut of_others) = (CpuSet::new(), before);
        of_functions.set(first);
        of_others.unset(first);
        sched_setaffinity(None, &of_others)?;
        Ok(Some(Self { before, of_functions }))
    }

    /// Puts the first thread of a process, and what that starts from now on, on the core of functions.
    ///
    /// # Errors
    /// This returns an error when the process is gone.
    pub fn give_core_to(&self, process: u32) -> Result<(), Failed> {
        let process = i32::try_from(process).ok().and_then(Pid::from_raw);
        Ok(sched_setaffinity(Some(process.ok_or("a process has an id")?), &self.of_functions)?)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Nothing is lost but the comfort of what is measured next.
        let _ = sched_setaffinity(None, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_function_shares_its_core_with_nobody_who_measures_it() {
        let before = sched_getaffinity(None).unwrap();
        let Some(apart) = Apart::begin().unwrap() else { return };
        let ours = sched_getaffinity(None).unwrap();
        let mut function = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        apart.give_core_to(function.id()).unwrap();
        let its = sched_getaffinity(Pid::from_raw(function.id().try_into().unwrap())).unwrap();
        assert!((0..CpuSet::MAX_CPU).all(|core| !(ours.is_set(core) && its.is_set(core))), "{ours:?} {its:?}");
        assert_eq!((its.count(), ours.count() + 1), (1, before.count()));

        function.kill().unwrap();
        function.wait().unwrap();
        drop(apart);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
