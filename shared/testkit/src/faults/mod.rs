//! Faults at every point where a run touches the world, and what must be true of the run in spite of them.
//!
//! A [`Scenario`] is a workflow with its data. A [`Schedule`] says which faults strike at which of the calls that the
//! run makes: to its journal, the mail service, the bus, the assistant … A [`Sweep`] plays a scenario under many
//! schedules, brings the run back as its queue would, and holds what came of it to these promises:
//!
//! - The run has ended, or rests where somebody can set it going again.
//! - An at-most-once effect was performed once at the most, also by two workers on one run.
//! - An at-least-once effect was performed with the same content each time, under the same key.
//! - The result is that of the undisturbed run, and rests on what the journal keeps. A run that failed says why, and
//!   failed no sooner than its workflow's attempts were used up.
//! - The journal has no gaps and never contradicts itself.
//! - A run that failed led to a dead letter, another to none.
//!
//! ```
//! use ihelper_testkit::faults::{Fault, Scenario, Sweep};
//! use serde_json::json;
//!
//! let email = json!({"id": "m1", "from": "ada@example.com", "content": "When do you open?"});
//! let sweep = Sweep::of(Scenario::new("email_processing", email));
//!
//! let every_fault_everywhere = sweep.single_faults();
//! let swept = sweep.check(every_fault_everywhere).unwrap_or_else(|found| panic!("{found}"));
//! assert_eq!(swept.schedules, sweep.calls() * Fault::ALL.len());
//!
//! let several_at_random = sweep.random(7, 50);
//! sweep.check(several_at_random).unwrap_or_else(|found| panic!("{found}"));
//! ```
//!
//! A schedule that breaks a promise is printed in a form that can be parsed and played alone:
//! `sweep.play(&"7/3:crash_before,9:throttle".parse()?)`.
//!
//! Time is virtual and chance is seeded: the same schedule always plays the same.

mod assistant;
mod layer;
mod machine;
mod oracle;
mod play;
mod ports;
mod scenario;
mod schedule;
mod sweep;
mod world;

pub use assistant::ScriptedAssistant;
pub use layer::{JournalLayer, Layered};
pub use play::{Call, Played};
pub use scenario::Scenario;
pub use schedule::{Fault, Planned, Schedule};
pub use sweep::{Found, Sweep, Swept};
