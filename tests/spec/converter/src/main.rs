//! Turns the official WebAssembly spec tests into programs of the engine contract.
//!
//! Each module of a script becomes a module that imports only `env.memory` and exports functions of
//! i32; each command becomes a function of that module, which compares results bit by bit, so that
//! no float, vector or reference crosses the contract. See `tests/spec/README.md`.

mod batches;
mod binary;
mod checks;
mod constants;
mod effects;
mod features;
mod output;
mod rewrite;
mod script;
mod spectest;
mod suites;

use std::path::Path;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("usage: spec-test-converter FOLDER")?;
    for source in suites::sources() {
        let name = format!("{}/{}", source.suite, source.name);
        let script = script::convert(&source).with_context(|| format!("cannot convert {name}"))?;
        script.write(Path::new(&folder))?;
    }
    Ok(())
}
