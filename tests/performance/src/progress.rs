use std::{cell::Cell, io::IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};

/// How often it is told, where lines cannot be written over.
const LINES: usize = 10;

/// How far a measurement is: a bar where somebody looks, some lines where not.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    all: usize,
    done: Cell<usize>,
    bad: Cell<usize>,
}

impl Progress {
    pub(crate) fn new(what: &str, all: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {elapsed} {msg}");
            let bar = ProgressBar::new(all as u64);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(what.to_owned());
            bar
        });
        Self { bar, what: what.to_owned(), all, done: Cell::new(0), bad: Cell::new(0) }
    }

    pub(crate) fn count(&self, is_good: bool) {
        let done = self.done.get() + 1;
        self.done.set(done);
        self.bad.set(self.bad.get() + usize::from(!is_good));
        if let Some(bar) = &self.bar {
            bar.set_message(self.failures());
            bar.inc(1);
        } else if done * LINES / self.all != (done - 1) * LINES / self.all {
            eprintln!("· {}: {done} of {} {}", self.what, self.all, self.failures());
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn failures(&self) -> String {
        match self.bad.get() {
            0 => String::new(),
            bad => format!("✗ {bad}"),
        }
    }
}
