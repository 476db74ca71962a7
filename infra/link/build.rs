//! How the functions are linked: at the addresses that they run at.
//!
//! What may lie anywhere has tens of thousands of addresses to be set right at each start, which takes half a millisecond
//! and writes to every page that holds one. Stack, heap and libraries still lie elsewhere in each process.

/// Tells Cargo.
pub(crate) fn main() {
    println!("cargo::rerun-if-changed=../../infra/link/build.rs");
    println!("cargo::rustc-link-arg-bins=-no-pie");
}
