//! The files that the runner reads: per script a JSON document and its binaries, end to end.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

/// A script: what to do, and what cannot be done through the engine contract.
#[derive(Serialize)]
pub struct Script {
    pub name: String,
    pub group: &'static str,
    pub modules: Vec<Module>,
    pub refusals: Vec<Refusal>,
    pub outside: Vec<Outside>,
    #[serde(skip)]
    pub binaries: Vec<u8>,
}

/// A byte range of the script's binaries.
#[derive(Serialize)]
pub struct Range {
    pub start: usize,
    pub end: usize,
}

/// A module to instantiate, and what to call.
#[derive(Serialize)]
pub struct Module {
    pub line: usize,
    pub wasm: Range,
    pub features: Vec<&'static str>,
    pub memory: Memory,
    pub writes: Vec<Write>,
    pub instantiates: bool,
    pub steps: Vec<Step>,
}

#[derive(Serialize)]
pub struct Memory {
    pub min_page_count: u64,
    pub max_page_count: u64,
    pub shared: bool,
    pub index64: bool,
}

#[derive(Serialize)]
pub struct Write {
    pub byte_offset: u64,
    pub bytes: Range,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum Step {
    Batch { export: String, lines: Vec<usize> },
    Trap { export: String, line: usize, message: String },
}

/// A module that must be refused.
#[derive(Serialize)]
pub struct Refusal {
    pub line: usize,
    pub wasm: Range,
    pub message: String,
}

/// A command that was left out, and why.
#[derive(Serialize)]
pub struct Outside {
    pub line: usize,
    pub reason: String,
}

impl Script {
    /// Adds bytes to the binaries.
    pub fn store(&mut self, bytes: &[u8]) -> Range {
        let start = self.binaries.len();
        self.binaries.extend_from_slice(bytes);
        Range { start, end: self.binaries.len() }
    }

    pub fn leave_out(&mut self, line: usize, reason: &str) {
        self.outside.push(Outside { line, reason: reason.to_string() });
    }

    /// Writes `<name>.json` and `<name>.bin`, with `/` in the name as a folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(&self.name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path.with_extension("json"), serde_json::to_vec(self)?)?;
        fs::write(path.with_extension("bin"), &self.binaries)?;
        Ok(())
    }
}
