//! How many calls the API takes in a second on the local AWS, beside a function that only echoes.

use serde::Serialize;

/// Calls in a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Calls at a time.
    pub at_once: usize,
    /// Runs by the API.
    pub runs: f64,
    /// Answers of the echo.
    pub echoes: f64,
}
