//! What the rewriting needs to know of a module: its sections as bytes, and its index spaces.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result, bail};
use wasmparser::{
    BinaryReader, CodeSectionReader, ElementSectionReader, ExportSectionReader, ExternalKind,
    FuncType, FunctionSectionReader, GlobalSectionReader, GlobalType, Import, ImportSectionReader,
    MemorySectionReader, MemoryType, Operator, TypeRef, TypeSectionReader,
};

pub mod section {
    //! Spec: <https://webassembly.github.io/spec/core/binary/modules.html#sections>
    pub const TYPE: u8 = 1;
    pub const IMPORT: u8 = 2;
    pub const FUNCTION: u8 = 3;
    pub const TABLE: u8 = 4;
    pub const MEMORY: u8 = 5;
    pub const GLOBAL: u8 = 6;
    pub const EXPORT: u8 = 7;
    pub const START: u8 = 8;
    pub const ELEMENT: u8 = 9;
    pub const CODE: u8 = 10;
    pub const DATA: u8 = 11;
    pub const DATA_COUNT: u8 = 12;
    pub const TAG: u8 = 13;
}

/// A module without its custom sections.
pub struct Module<'a> {
    pub sections: BTreeMap<u8, &'a [u8]>,
    pub types: Vec<FuncType>,
    pub imports: Vec<Import<'a>>,
    /// Types of all functions, imported ones first.
    pub functions: Vec<u32>,
    /// Types of all globals, imported ones first.
    pub globals: Vec<GlobalType>,
    /// All memories, imported ones first.
    pub memories: Vec<MemoryType>,
    pub exports: HashMap<&'a str, (ExternalKind, u32)>,
    pub start: Option<u32>,
    /// Functions that a `ref.func` in some body names.
    pub referenced_functions: HashSet<u32>,
}

impl<'a> Module<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let sections = split_sections(bytes)?;
        let mut module = Module {
            types: read_types(&sections)?,
            imports: read_imports(&sections)?,
            functions: Vec::new(),
            globals: Vec::new(),
            memories: Vec::new(),
            exports: read_exports(&sections)?,
            start: None,
            referenced_functions: HashSet::new(),
            sections,
        };
        module.read_index_spaces()?;
        module.read_bodies()?;
        Ok(module)
    }

    /// A reader of a section's contents.
    pub fn reader(&self, id: u8) -> Option<BinaryReader<'a>> {
        reader(&self.sections, id)
    }

    pub fn function_type(&self, index: u32) -> Result<&FuncType> {
        let type_index = self.functions.get(index as usize).context("function index")?;
        self.types.get(*type_index as usize).context("type index")
    }

    /// The body of an exported function that returns a constant, and so needs nothing of its module.
    pub fn constant_function(&self, name: &str) -> Option<&'a [u8]> {
        let (ExternalKind::Func, index) = *self.exports.get(name)? else {
            return None;
        };
        let is_function = |import: &&Import| matches!(import.ty, TypeRef::Func(_));
        let imported = self.imports.iter().filter(is_function).count();
        let defined = (index as usize).checked_sub(imported)?;
        let mut bodies = CodeSectionReader::new(self.reader(section::CODE)?).ok()?.into_iter();
        let body = bodies.nth(defined)?.ok()?;
        let mut operators = body.get_operators_reader().ok()?.into_iter();
        let constant = operators.all(|operator| {
            matches!(
                operator,
                Ok(Operator::I32Const { .. } | Operator::I64Const { .. } | Operator::End)
            )
        });
        constant.then(|| body.as_bytes())
    }

    fn read_index_spaces(&mut self) -> Result<()> {
        for import in &self.imports {
            match import.ty {
                TypeRef::Func(index) | TypeRef::FuncExact(index) => self.functions.push(index),
                TypeRef::Global(global) => self.globals.push(global),
                TypeRef::Memory(memory) => self.memories.push(memory),
                TypeRef::Table(_) | TypeRef::Tag(_) => {}
            }
        }
        if let Some(reader) = self.reader(section::FUNCTION) {
            for index in FunctionSectionReader::new(reader)? {
                self.functions.push(index?);
            }
        }
        if let Some(reader) = self.reader(section::MEMORY) {
            for memory in MemorySectionReader::new(reader)? {
                self.memories.push(memory?);
            }
        }
        if let Some(reader) = self.reader(section::GLOBAL) {
            for global in GlobalSectionReader::new(reader)? {
                self.globals.push(global?.ty);
            }
        }
        if let Some(mut reader) = self.reader(section::START) {
            self.start = Some(reader.read_var_u32()?);
        }
        if let Some(reader) = self.reader(section::ELEMENT) {
            for element in ElementSectionReader::new(reader)? {
                element?;
            }
        }
        Ok(())
    }

    fn read_bodies(&mut self) -> Result<()> {
        let Some(reader) = self.reader(section::CODE) else {
            return Ok(());
        };
        for body in CodeSectionReader::new(reader)? {
            for operator in body?.get_operators_reader()? {
                if let Operator::RefFunc { function_index } = operator? {
                    self.referenced_functions.insert(function_index);
                }
            }
        }
        Ok(())
    }
}

/// Splits a module into its sections, of which only custom ones may repeat.
fn split_sections(bytes: &[u8]) -> Result<BTreeMap<u8, &[u8]>> {
    let mut reader = BinaryReader::new(bytes, 0);
    if reader.read_bytes(8)? != b"\0asm\x01\0\0\0" {
        bail!("not a module");
    }
    let mut sections = BTreeMap::new();
    while !reader.eof() {
        let id = reader.read_u8()?;
        let byte_length = reader.read_var_u32()? as usize;
        let contents = reader.read_bytes(byte_length)?;
        if id != 0 {
            sections.insert(id, contents);
        }
    }
    Ok(sections)
}

fn reader<'a>(sections: &BTreeMap<u8, &'a [u8]>, id: u8) -> Option<BinaryReader<'a>> {
    sections.get(&id).map(|contents| BinaryReader::new(contents, 0))
}

fn read_types(sections: &BTreeMap<u8, &[u8]>) -> Result<Vec<FuncType>> {
    let Some(reader) = reader(sections, section::TYPE) else {
        return Ok(Vec::new());
    };
    let types: wasmparser::Result<_> =
        TypeSectionReader::new(reader)?.into_iter_err_on_gc_types().collect();
    Ok(types?)
}

fn read_imports<'a>(sections: &BTreeMap<u8, &'a [u8]>) -> Result<Vec<Import<'a>>> {
    let Some(reader) = reader(sections, section::IMPORT) else {
        return Ok(Vec::new());
    };
    let imports: wasmparser::Result<_> = ImportSectionReader::new(reader)?.into_imports().collect();
    Ok(imports?)
}

fn read_exports<'a>(
    sections: &BTreeMap<u8, &'a [u8]>,
) -> Result<HashMap<&'a str, (ExternalKind, u32)>> {
    let mut exports = HashMap::new();
    if let Some(reader) = reader(sections, section::EXPORT) {
        for export in ExportSectionReader::new(reader)? {
            let export = export?;
            exports.insert(export.name, (export.kind, export.index));
        }
    }
    Ok(exports)
}
