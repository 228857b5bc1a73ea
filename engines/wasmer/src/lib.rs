//! A small C ABI over the Wasmer crates, for the Python plugin `iree-wasm-hal-wasmer`.
//!
//! The plugin's `declarations.h` is the ABI's other half; [`abi::ABI_VERSION`] ties the two. What
//! the ABI deals in are the nouns of the engine contract (`iree_wasm_hal/engine/contract.py`):
//! an engine compiles programs, a memory exists by itself, an instance binds the two.
//!
//! Every function that can fail returns an owned [`failure::Failure`] or null. No panic leaves the
//! library: each entry catches it and returns it as a failure.

mod abi;
mod call;
mod engine;
mod failure;
mod image;
mod instance;
mod interruption;
mod memory;
mod program;
mod safepoints;
mod tunables;
