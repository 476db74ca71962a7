//! Turns the embedded YAML into JSON, which a function reads in a tenth of the time at each of its starts, and tells the
//! number of each definition, which many need and nothing else of it.
//!
//! What is no YAML, or has a key twice, ends the build; what it says is checked where it is read.

use std::{env, error::Error, fs, path::Path};

const EMBEDDED: [&str; 4] =
    ["workflow_config", "definitions/email_processing", "definitions/document_review", "definitions/task_automation"];

fn main() -> Result<(), Box<dyn Error>> {
    let infra = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../infra");
    let out = env::var("OUT_DIR")?;
    println!("cargo::rerun-if-changed=build.rs");
    for name in EMBEDDED {
        let file = infra.join(name).with_extension("yaml");
        println!("cargo::rerun-if-changed={}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let value: serde_json::Value =
            serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = Path::new(name).file_name().ok_or("an embedded file has a name")?;
        let made = Path::new(&out).join(name);
        fs::write(made.with_extension("json"), value.to_string())?;
        let is_definition = file.parent().is_some_and(|folder| folder.ends_with("definitions"));
        if is_definition {
            let version = value["version"].as_u64().ok_or_else(|| format!("{}: has no version", file.display()))?;
            fs::write(made.with_extension("version"), version.to_string())?;
        }
    }
    Ok(())
}
