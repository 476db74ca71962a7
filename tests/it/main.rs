//! The functions on ports in memory, faults at every point, and the template held to the configuration.

mod api;
mod consumer;
mod doors;
mod engine;
mod events;
mod golden;
mod guides;
mod mail;
mod models;
mod monitor;
mod sweep;
mod tasks;
mod template;
mod versions;
mod workflows;
