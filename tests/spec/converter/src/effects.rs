//! Which functions may change what a later call sees: a command that had to be left out taints the
//! rest of its module only if it calls one of them.

use std::collections::HashSet;

use anyhow::Result;
use wasmparser::{CodeSectionReader, FunctionBody, Operator};

use crate::binary::{Module, section};

/// The functions, by index, that change memory, tables, globals or segments, or may call one
/// that does. Imported functions are taken to change nothing: only pure ones are ever linked.
pub fn state_changing_functions(module: &Module) -> Result<HashSet<u32>> {
    let (mut changing, mut callers) = (HashSet::new(), Vec::new());
    let Some(reader) = module.reader(section::CODE) else {
        return Ok(changing);
    };
    let bodies = CodeSectionReader::new(reader)?;
    let first = u32::try_from(module.functions.len())? - bodies.count();
    for (index, body) in (first..).zip(bodies) {
        let (changes, callees) = scan(&body?)?;
        if changes {
            changing.insert(index);
        }
        callers.push((index, callees));
    }
    loop {
        let count = changing.len();
        for (index, callees) in &callers {
            if callees.iter().any(|callee| changing.contains(callee)) {
                changing.insert(*index);
            }
        }
        if changing.len() == count {
            return Ok(changing);
        }
    }
}

/// Whether a body itself changes state or calls the unknown, and the functions that it calls.
fn scan(body: &FunctionBody) -> Result<(bool, Vec<u32>)> {
    let (mut changes, mut callees) = (false, Vec::new());
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                callees.push(function_index);
            }
            operator => changes |= changes_state(&operator),
        }
    }
    Ok((changes, callees))
}

/// By the instruction's name, since there are dozens of stores.
fn changes_state(operator: &Operator) -> bool {
    let name = format!("{operator:?}");
    let parts =
        ["Store", "Rmw", "Grow", "Fill", "Copy", "Init", "Drop {", "GlobalSet", "TableSet", "Call"];
    parts.iter().any(|part| name.contains(part))
}
