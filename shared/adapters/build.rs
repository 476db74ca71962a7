//! Holds the policies in `infra/policies` to their schema, and makes them into Rust, so that no function parses them: that
//! takes longer than all the rest of its start. Policies that do not fit do not build.

#[cfg(feature = "cedar")]
#[expect(unreachable_pub, reason = "the library has this file too")]
#[path = "src/cedar/compile.rs"]
mod compile;
#[cfg(feature = "cedar")]
#[path = "src/cedar/generate.rs"]
mod generate;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cedar")]
    policies::write()?;
    Ok(())
}

#[cfg(feature = "cedar")]
mod policies {
    use std::{env, error::Error, fs, path::Path};

    use crate::{compile::compile, generate};

    const SOURCES: &str = "src/cedar";
    const BUILT_IN: &str = "../../infra/policies";

    pub(crate) fn write() -> Result<(), Box<dyn Error>> {
        println!("cargo::rerun-if-changed={SOURCES}");
        println!("cargo::rerun-if-changed={BUILT_IN}");
        make(Path::new(BUILT_IN), "built_in.rs")?;
        // One of each kind of expression, for the tests alone.
        make(&Path::new(SOURCES).join("every_expression"), "every_expression.rs")
    }

    /// Makes the policies of a folder, and its schema, into a file.
    fn make(folder: &Path, file: &str) -> Result<(), Box<dyn Error>> {
        let mut files =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        files.sort();
        let all = |extension: &str| {
            let files = files.iter().filter(|path| path.extension().is_some_and(|found| found == extension));
            files.map(fs::read_to_string).collect::<Result<Vec<String>, _>>().map(|texts| texts.join("\n"))
        };
        let policies = compile(&all("cedarschema")?, &all("cedar")?)?;
        fs::write(Path::new(&env::var("OUT_DIR")?).join(file), generate::policies(&policies))?;
        Ok(())
    }
}
