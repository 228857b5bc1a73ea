//! What a module imports, as parts of the module itself: the host module `spectest`, and functions
//! of other modules that return constants.
//!
//! Spec: <https://github.com/WebAssembly/spec/blob/main/interpreter/README.md#spectest-host-module>

use anyhow::{Result, bail};
use wasm_encoder::{RefType, TableType};
use wasmparser::{Import, MemoryType, TypeRef, ValType};

use crate::constants::Constant;

const HOST_MODULE: &str = "spectest";
/// No locals, no instruction but `end`: the print functions return nothing.
const EMPTY_BODY: [u8; 2] = [0, 0x0b];
const MEMORY_MAX_PAGE_COUNT: u64 = 2;
const MEMORY_MIN_PAGE_COUNT: u64 = 1;

/// What a module's imports become.
#[derive(Default)]
pub struct Link {
    /// Imported functions, by their type index and body.
    pub functions: Vec<(u32, Vec<u8>)>,
    pub tables: Vec<TableType>,
    pub globals: Vec<Constant>,
    /// The limits that the memory is created with, where it is imported.
    pub memory: Option<MemoryType>,
}

/// Resolves a module's imports.
///
/// `constant_function` gives the body of a function of another module, by module and name. The
/// error says what stands outside the engine contract.
pub fn link(
    imports: &[Import],
    constant_function: impl Fn(&str, &str) -> Option<Vec<u8>>,
) -> Result<Link> {
    let mut link = Link::default();
    for import in imports {
        if import.module != HOST_MODULE {
            let body = constant_function(import.module, import.name);
            match (import.ty, body) {
                (TypeRef::Func(index), Some(body)) => link.functions.push((index, body)),
                _ => bail!("imports from other modules"),
            }
            continue;
        }
        match (import.name, import.ty) {
            (name, TypeRef::Func(index)) if name.starts_with("print") => {
                link.functions.push((index, EMPTY_BODY.to_vec()));
            }
            ("table", TypeRef::Table(_)) => link.tables.push(TableType {
                element_type: RefType::FUNCREF,
                table64: false,
                minimum: 10,
                maximum: Some(20),
                shared: false,
            }),
            (_, TypeRef::Global(global)) => {
                link.globals.push(global_value(import.name, global.content_type)?);
            }
            ("memory" | "shared_memory", TypeRef::Memory(memory)) => {
                link.memory = Some(MemoryType {
                    initial: MEMORY_MIN_PAGE_COUNT,
                    maximum: Some(MEMORY_MAX_PAGE_COUNT),
                    ..memory
                });
            }
            (name, _) => bail!("an import of spectest.{name}"),
        }
    }
    Ok(link)
}

fn global_value(name: &str, value_type: ValType) -> Result<Constant> {
    Ok(match (name, value_type) {
        ("global_i32", ValType::I32) => Constant::I32(666),
        ("global_i64", ValType::I64) => Constant::I64(666),
        ("global_f32", ValType::F32) => Constant::F32(666.6_f32.to_bits()),
        ("global_f64", ValType::F64) => Constant::F64(666.6_f64.to_bits()),
        _ => bail!("an import of spectest.{name}"),
    })
}
