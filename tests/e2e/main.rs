//! The deployed bundle, over the wire: the real template, the real `bootstrap` binaries, a local AWS.
//!
//! `make test` starts the stack around these tests (`infra/local/stack.py run`) and stops it after them; its
//! addresses come by `IHELPER_OUTPUTS`.

mod bundle;
mod control;
mod doors;
mod faults;
mod load;
mod logs;
mod loops;
mod queues;
mod traces;
mod triggers;
mod versions;
