//! Signatures that held, so that a caller's next call has only that checked which may have changed: keys, claims, times.
//!
//! Invariants:
//! - A signature is remembered under the whole token's SHA-256, with the very keys that it held under: keys that were fetched
//!   again, be they the same, have it checked again.
//! - No token is kept, and of no more than [`MOST`] anything.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ring::digest::{SHA256, digest};

use super::keys::Key;

/// How many signatures are remembered: as many callers as one instance meets within a token's life, roughly.
const MOST: usize = 64;

type Fingerprint = [u8; 32];

/// The signatures that held lately.
#[derive(Default)]
pub(super) struct Held(Mutex<VecDeque<(Fingerprint, Arc<[Key]>)>>);

impl Held {
    /// Whether this token's signature holds under one of these keys, by memory or else by this check.
    pub(super) fn or(&self, token: &str, keys: &Arc<[Key]>, check: impl FnOnce() -> bool) -> bool {
        let Ok(fingerprint) = Fingerprint::try_from(digest(&SHA256, token.as_bytes()).as_ref()) else { return check() };
        if self.remembered().iter().any(|(of, under)| *of == fingerprint && Arc::ptr_eq(under, keys)) {
            return true;
        }
        let holds = check();
        if holds {
            let mut remembered = self.remembered();
            remembered.truncate(MOST - 1);
            remembered.push_front((fingerprint, Arc::clone(keys)));
        }
        holds
    }

    fn remembered(&self) -> MutexGuard<'_, VecDeque<(Fingerprint, Arc<[Key]>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Arc<[Key]> {
        Arc::new([])
    }

    /// What is found, and whether it was checked for that.
    fn found(held: &Held, token: &str, keys: &Arc<[Key]>, holds: bool) -> (bool, bool) {
        let mut checked = false;
        let found = held.or(token, keys, || {
            checked = true;
            holds
        });
        (found, checked)
    }

    #[test]
    fn a_signature_is_checked_once_under_the_same_keys() {
        let (held, first, second) = (Held::default(), keys(), keys());
        assert_eq!(found(&held, "a.b.c", &first, true), (true, true));
        assert_eq!(found(&held, "a.b.c", &first, false), (true, false));
        assert_eq!(found(&held, "a.b.d", &first, false), (false, true), "another signature");
        assert_eq!(found(&held, "a.b.c", &second, false), (false, true), "keys that were fetched again");
    }

    #[test]
    fn what_does_not_hold_is_not_remembered() {
        let (held, keys) = (Held::default(), keys());
        assert_eq!(found(&held, "a.b.c", &keys, false), (false, true));
        assert_eq!(found(&held, "a.b.c", &keys, true), (true, true));
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let (held, keys) = (Held::default(), keys());
        for number in 0..=MOST {
            assert_eq!(found(&held, &number.to_string(), &keys, true), (true, true));
        }
        assert_eq!(held.remembered().len(), MOST);
        assert_eq!(found(&held, "1", &keys, false), (true, false));
        assert_eq!(found(&held, "0", &keys, false), (false, true));
    }
}
