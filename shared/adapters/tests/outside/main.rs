//! What tasks reach beyond AWS, against real servers on this machine.

mod http;
#[path = "mcp.rs"]
mod local;
