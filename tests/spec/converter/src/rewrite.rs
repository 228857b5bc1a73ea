//! Rewrites a module into a program of the engine contract.
//!
//! The memory, own or imported, becomes the import `env.memory`. Other imports become parts of the
//! module; imported functions, tables and globals come first in their index spaces, so that no
//! index in any body changes. Active data segments are written by the host. The start function is
//! the first command. Of the exports only those of the commands are left.

use anyhow::{Result, bail, ensure};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    CodeSection, DataSection, ElementSection, Elements, EntityType, FunctionSection, GlobalSection,
    GlobalType, ImportSection, RawSection, TableSection, TypeSection, ValType,
};
use wasmparser::{
    CodeSectionReader, DataKind, DataSectionReader, ElementSectionReader, GlobalSectionReader,
    MemoryType, TableSectionReader, TypeSectionReader,
};

use crate::batches::{Command, Plan, Step};
use crate::binary::{Module, section};
use crate::constants::{Constant, Inliner, evaluate};
use crate::spectest::Link;

/// Page count that a memory without a maximum gets as one, and that none may exceed.
const MAX_PAGE_COUNT: u64 = 65536;
const PAGE_SIZE: u64 = 65536;
const NO_MEMORY: MemoryType = MemoryType {
    memory64: false,
    shared: false,
    initial: 1,
    maximum: Some(1),
    page_size_log2: None,
};

pub struct Program {
    pub wasm: Vec<u8>,
    /// The type that the memory is created with.
    pub memory: MemoryType,
    /// What the host writes to the memory: byte offsets and bytes.
    pub writes: Vec<(u64, Vec<u8>)>,
    pub steps: Vec<Step>,
}

/// The error says what stands outside the engine contract.
pub fn rewrite(module: &Module, link: &Link, commands: &[Command]) -> Result<Program> {
    let (import, memory) = memory_types(module, link)?;
    let data = data_segments(module, link, &memory)?;
    let plan = Plan::new(module, commands)?;
    let import = EntityType::Memory(RoundtripReencoder.memory_type(import)?);
    let mut wasm = wasm_encoder::Module::new();
    wasm.section(&types(module, &plan)?);
    wasm.section(ImportSection::new().import("env", "memory", import));
    wasm.section(&functions(module, link, &plan));
    wasm.section(&tables(module, link)?);
    copy(&mut wasm, section::TAG, module);
    wasm.section(&globals(module, link)?);
    wasm.section(&plan.exports());
    wasm.section(&elements(module, link)?);
    copy(&mut wasm, section::DATA_COUNT, module);
    wasm.section(&code(module, link, &plan, commands)?);
    if module.sections.contains_key(&section::DATA_COUNT) {
        wasm.section(&data.kept);
    }
    Ok(Program { wasm: wasm.finish(), memory, writes: data.writes, steps: plan.steps })
}

/// The same for a module that no engine may accept: only its memory, if it is its own, becomes the
/// import. None where that cannot be done.
pub fn rewrite_invalid(module: &Module, needs_memory: bool) -> Option<Vec<u8>> {
    if !module.imports.is_empty() || module.memories.len() > 1 {
        return None;
    }
    let memory = match module.memories.first() {
        Some(memory) => *memory,
        None if needs_memory => return None,
        None => NO_MEMORY,
    };
    let import = EntityType::Memory(RoundtripReencoder.memory_type(memory).ok()?);
    let mut wasm = wasm_encoder::Module::new();
    copy(&mut wasm, section::TYPE, module);
    wasm.section(ImportSection::new().import("env", "memory", import));
    for id in SECTION_ORDER.iter().filter(|id| **id > section::IMPORT && **id != section::MEMORY) {
        copy(&mut wasm, *id, module);
    }
    Some(wasm.finish())
}

/// Spec: <https://webassembly.github.io/spec/core/binary/modules.html#binary-module>
const SECTION_ORDER: [u8; 13] = [
    section::TYPE,
    section::IMPORT,
    section::FUNCTION,
    section::TABLE,
    section::MEMORY,
    section::TAG,
    section::GLOBAL,
    section::EXPORT,
    section::START,
    section::ELEMENT,
    section::DATA_COUNT,
    section::CODE,
    section::DATA,
];

fn copy(wasm: &mut wasm_encoder::Module, id: u8, module: &Module) {
    if let Some(data) = module.sections.get(&id) {
        wasm.section(&RawSection { id, data });
    }
}

/// The types of the import and of the memory itself.
fn memory_types(module: &Module, link: &Link) -> Result<(MemoryType, MemoryType)> {
    let import = match module.memories[..] {
        [] => NO_MEMORY,
        [memory] => memory,
        _ => bail!("several memories"),
    };
    let mut memory = link.memory.unwrap_or(import);
    let maximum = import.maximum.unwrap_or(MAX_PAGE_COUNT).min(MAX_PAGE_COUNT);
    memory.maximum = Some(memory.maximum.unwrap_or(maximum).min(maximum));
    ensure!(memory.initial <= MAX_PAGE_COUNT, "a memory larger than 4 GiB");
    ensure!(memory.page_size_log2.is_none(), "pages of other sizes");
    ensure!(import.initial <= memory.initial, "a memory that does not fit its import");
    Ok((import, memory))
}

struct Data {
    writes: Vec<(u64, Vec<u8>)>,
    /// Passive segments, and an empty one in place of each active one, which is dropped at start.
    kept: DataSection,
}

fn data_segments(module: &Module, link: &Link, memory: &MemoryType) -> Result<Data> {
    let mut data = Data { writes: Vec::new(), kept: DataSection::new() };
    let Some(reader) = module.reader(section::DATA) else {
        return Ok(data);
    };
    for segment in DataSectionReader::new(reader)? {
        let segment = segment?;
        match segment.kind {
            DataKind::Passive => {
                data.kept.passive(segment.data.iter().copied());
            }
            DataKind::Active { offset_expr, .. } => {
                let offset = evaluate(&offset_expr, &link.globals)?;
                let end = offset.checked_add(segment.data.len() as u64);
                if end.is_none_or(|end| end > memory.initial * PAGE_SIZE) {
                    bail!("data segments that do not fit the memory");
                }
                data.writes.push((offset, segment.data.to_vec()));
                data.kept.passive([]);
            }
        }
    }
    Ok(data)
}

fn types(module: &Module, plan: &Plan) -> Result<TypeSection> {
    let mut types = TypeSection::new();
    if let Some(reader) = module.reader(section::TYPE) {
        RoundtripReencoder.parse_type_section(&mut types, TypeSectionReader::new(reader)?)?;
    }
    for (parameters, results) in Plan::TYPES {
        types.ty().function(parameters.iter().copied(), results.iter().copied());
    }
    debug_assert_eq!(types.len() as usize, plan.first_type as usize + Plan::TYPES.len());
    Ok(types)
}

fn functions(module: &Module, link: &Link, plan: &Plan) -> FunctionSection {
    let mut section = FunctionSection::new();
    let linked = link.functions.iter().map(|(index, _)| *index);
    let own = module.functions[link.functions.len()..].iter().copied();
    for index in linked.chain(own).chain(plan.function_types()) {
        section.function(index);
    }
    section
}

fn tables(module: &Module, link: &Link) -> Result<TableSection> {
    let mut tables = TableSection::new();
    for table in &link.tables {
        tables.table(*table);
    }
    if let Some(reader) = module.reader(section::TABLE) {
        let reader = TableSectionReader::new(reader)?;
        Inliner { globals: &link.globals }.parse_table_section(&mut tables, reader)?;
    }
    Ok(tables)
}

fn globals(module: &Module, link: &Link) -> Result<GlobalSection> {
    let mut globals = GlobalSection::new();
    for (value, global) in link.globals.iter().zip(&module.globals) {
        let global = RoundtripReencoder.global_type(*global)?;
        globals.global(global, &value.expression());
    }
    if let Some(reader) = module.reader(section::GLOBAL) {
        let reader = GlobalSectionReader::new(reader)?;
        Inliner { globals: &link.globals }.parse_global_section(&mut globals, reader)?;
    }
    let progress = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(progress, &Constant::I32(-1).expression());
    Ok(globals)
}

/// A function that was exported may be named by `ref.func` only if something else declares it.
fn elements(module: &Module, link: &Link) -> Result<ElementSection> {
    let mut elements = ElementSection::new();
    if let Some(reader) = module.reader(section::ELEMENT) {
        let reader = ElementSectionReader::new(reader)?;
        Inliner { globals: &link.globals }.parse_element_section(&mut elements, reader)?;
    }
    if !module.referenced_functions.is_empty() {
        let indices: Vec<u32> = module.referenced_functions.iter().copied().collect();
        elements.declared(Elements::Functions(indices.into()));
    }
    Ok(elements)
}

fn code(module: &Module, link: &Link, plan: &Plan, commands: &[Command]) -> Result<CodeSection> {
    let mut code = CodeSection::new();
    for (_, body) in &link.functions {
        code.raw(body);
    }
    if let Some(reader) = module.reader(section::CODE) {
        for body in CodeSectionReader::new(reader)? {
            code.raw(body?.as_bytes());
        }
    }
    for body in plan.bodies(commands) {
        code.function(&body);
    }
    Ok(code)
}
