//! Takes the white space out of the committed contract, and links as the other functions do.

#[path = "../../infra/link/build.rs"]
mod link;

use std::{env, error::Error, fs, path::Path};

const CONTRACT: &str = "../../docs/openapi.json";

fn main() -> Result<(), Box<dyn Error>> {
    link::main();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={CONTRACT}");
    let contract: serde_json::Value = serde_json::from_str(&fs::read_to_string(CONTRACT)?)?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("openapi.json"), contract.to_string())?;
    Ok(())
}
