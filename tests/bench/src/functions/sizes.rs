//! How large the functions are, as they are uploaded.

use std::{fs::File, io};

use flate2::{Compression, write::DeflateEncoder};
use serde::Serialize;

use crate::{
    Failed,
    functions::{FUNCTIONS, build},
};

/// The largest zip, in bytes.
pub const LIMIT: u64 = 8 * 1024 * 1024;

/// The largest one of the function that reads documents.
pub const DOCUMENT_LIMIT: u64 = 16 * 1024 * 1024;

/// The size of a function, in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The function.
    pub name: &'static str,
    /// Its binary.
    pub binary: u64,
    /// The zip with it, but for the hundred bytes of its directory.
    pub zipped: u64,
    /// What the zip may have.
    pub limit: u64,
}

/// Measures every function.
///
/// # Errors
/// This returns an error when one does not compile.
pub fn measure() -> Result<Vec<Measured>, Failed> {
    let measured = FUNCTIONS.iter().map(|function| {
        let mut binary = File::open(build::function(function.name)?)?;
        // The level that zip has unless told otherwise, as SAM's does.
        let mut zip = DeflateEncoder::new(Counter(0), Compression::default());
        let bytes = io::copy(&mut binary, &mut zip)?;
        let limit = if function.name == "document-consumer" { DOCUMENT_LIMIT } else { LIMIT };
        Ok(Measured { name: function.name, binary: bytes, zipped: zip.finish()?.0, limit })
    });
    measured.collect()
}

/// Counts what is written to it.
struct Counter(u64);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
