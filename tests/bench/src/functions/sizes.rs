//! How large the functions are, as they are uploaded.

use std::{fs, path::Path, process::Command};

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
    /// The zip with it.
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
        let binary = build::function(function.name)?;
        let limit = if function.name == "document-consumer" { DOCUMENT_LIMIT } else { LIMIT };
        Ok(Measured { name: function.name, binary: fs::metadata(&binary)?.len(), zipped: zipped(&binary)?, limit })
    });
    measured.collect()
}

/// How large SAM's zip is: one by Python, with what its library does unless told otherwise.
fn zipped(binary: &Path) -> Result<u64, Failed> {
    const ZIP: &str = "import io, sys, zipfile\narchive = io.BytesIO()\n\
        with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as output:\n    output.write(sys.argv[1], 'bootstrap')\n\
        print(len(archive.getvalue()))";
    let output = Command::new("python3").args(["-c", ZIP]).arg(binary).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
