//! The engine, with workflows made for one question each.
//!
//! A test tells a [`stage::Stage`] how its workflow goes, lets workers make attempts at the one run there is, and
//! reads in the world's diary and in the journal what came of it. Time is virtual: nothing here waits.

mod branches;
mod cancelling;
mod effects;
mod failures;
mod leases;
mod stage;
mod steps;
mod waits;
mod writes;
