//! Who gets in, and what they may do there.

mod calls;
mod limits;
mod messages;
mod permissions;
mod tokens;

use std::sync::Arc;

use ihelper_runtime::tokens::{Expected, Tokens};
use ihelper_testkit::memory::{MemoryIssuer, VirtualClock};

/// Tokens of this issuer, by this clock.
pub(crate) fn tokens(issuer: &MemoryIssuer, clock: &VirtualClock) -> Arc<Tokens> {
    let expected = Expected { issuer: MemoryIssuer::NAME.to_owned(), audience: MemoryIssuer::AUDIENCE.to_owned() };
    Arc::new(Tokens::new(expected, Arc::new(issuer.clone()), Arc::new(clock.clone())))
}
