//! The binaries that are measured, built as SAM builds them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::Failed;

/// The package of the peers.
const PEERS: &str = "ihelper-bench-peers";

/// A function that answers, and does nothing else.
pub const BARE: &str = "bare";

/// A function behind API Gateway that answers with what it was sent.
pub const ECHO: &str = "echo";

/// The API on ports in memory.
pub const MEMORY_API: &str = "memory-api";

/// A consumer on ports in memory, with a model on the network.
pub const MEMORY_CONSUMER: &str = "memory-consumer";

/// Builds a function, by itself: features that other functions need would otherwise be in it.
///
/// # Errors
/// This returns an error when it does not compile.
pub fn function(name: &str) -> Result<PathBuf, Failed> {
    cargo(&["--package", name], name)
}

/// Builds a peer.
///
/// # Errors
/// This returns an error when it does not compile.
pub fn peer(name: &str) -> Result<PathBuf, Failed> {
    let of_memory: &[&str] = if name.starts_with("memory") { &["--features", "memory"] } else { &[] };
    cargo(&[&["--package", PEERS, "--bin", name], of_memory].concat(), name)
}

/// Takes from now on what was built before.
pub fn take_as_built() {
    AS_BUILT.store(true, Ordering::Relaxed);
}

static AS_BUILT: AtomicBool = AtomicBool::new(false);

/// What cargo-lambda builds for, and the processor whose instructions it allows: the oldest one of Lambda.
const PLATFORM: (&str, &str) = if cfg!(target_arch = "aarch64") {
    ("aarch64-unknown-linux-gnu", "neoverse-n1")
} else {
    ("x86_64-unknown-linux-gnu", "haswell")
};

fn cargo(selection: &[&str], name: &str) -> Result<PathBuf, Failed> {
    let (platform, processor) = PLATFORM;
    let built = target().join(platform).join("release").join(name);
    if AS_BUILT.load(Ordering::Relaxed) {
        return if built.exists() { Ok(built) } else { Err(format!("{name} was not built yet").into()) };
    }
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--quiet", "--target", platform])
        .args(selection)
        .env("RUSTFLAGS", format!("-C target-cpu={processor}"))
        .current_dir(root())
        .status()?;
    if status.success() { Ok(built) } else { Err(format!("{name} does not compile").into()) }
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where reports lie.
///
/// # Errors
/// This returns an error when the folder cannot be made.
pub fn reports() -> Result<PathBuf, Failed> {
    let folder = target().join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The runtime interface emulator, as it comes with SAM.
///
/// # Errors
/// This returns an error when `stack.py tools sam` has not installed it.
pub fn emulator() -> Result<PathBuf, Failed> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let libraries = std::fs::read_dir(root().join(".local/tools/sam/lib")).into_iter().flatten().flatten();
    let name = format!("site-packages/samcli/local/rapid/aws-lambda-rie-{architecture}");
    let found = libraries.map(|library| library.path().join(&name)).find(|path| path.exists());
    found.ok_or_else(|| "the emulator is not installed: `python3 infra/local/stack.py tools sam`".into())
}
