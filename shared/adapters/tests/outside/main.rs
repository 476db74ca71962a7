//! What tasks and assistants reach beyond AWS, against real servers on this machine.

mod http;
mod issuer;
mod local;
