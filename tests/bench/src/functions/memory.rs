//! The most memory that a function has at work.

use serde::Serialize;
use serde_json::json;

use crate::{
    Failed,
    functions::{
        FUNCTIONS,
        build::{self, BARE},
        emulator::Emulator,
        process::highest_mark,
        service::Service,
    },
};

/// The most that the functions may have, but for the one that reads documents: that one's memory is its documents'.
pub const LIMIT: u64 = 48 * 1024 * 1024;

/// Runs before the mark is read.
pub const RUNS: usize = 100;

/// The highest mark of a function, in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The function.
    pub name: &'static str,
    /// Its highest mark.
    pub bytes: u64,
    /// The bare function's.
    pub bare_bytes: u64,
    /// What it may have, if that is limited.
    pub limit: Option<u64>,
}

/// Measures every function.
///
/// # Errors
/// This returns an error when a function does not compile, or does not answer as it should.
pub async fn measure() -> Result<Vec<Measured>, Failed> {
    let mut bare = Emulator::start(&build::peer(BARE)?, &Default::default()).await?;
    for _ in 0..RUNS {
        bare.invoke(&json!({})).await?;
    }
    let bare_bytes = highest_mark(bare.function()?).ok_or("the bare function has ended")?;
    let mut all = Vec::new();
    for function in FUNCTIONS {
        let service = Service::start().await?;
        let mut emulator = Emulator::start(&build::function(function.name)?, &service.environment()).await?;
        for number in 0..RUNS {
            let (answer, _) = emulator.invoke(&function.work(number, service.issuer())).await?;
            if let Some(complaint) = function.complaint(&answer) {
                return Err(complaint.into());
            }
        }
        let bytes = highest_mark(emulator.function()?).ok_or("the function has ended")?;
        let limit = (function.name != "document-consumer").then_some(LIMIT);
        all.push(Measured { name: function.name, bytes, bare_bytes, limit });
    }
    Ok(all)
}
