//! Puts our memories into Wasmer's stores.
//!
//! A store asks its engine's tunables for each host memory; these answer with a handle on a memory
//! that exists already. It is the one way in: Wasmer's `Memory::new_from_existing` takes a type that
//! other crates cannot make.

use std::ptr::NonNull;

use wasmer::sys::Tunables;
use wasmer::sys::engine::BaseTunables;
use wasmer::sys::vm::{
    LinearMemory, MemoryError, MemoryStyle, TableStyle, VMConfig, VMMemory, VMMemoryDefinition,
    VMTable, VMTableDefinition,
};
use wasmer::{MemoryType, TableType};

use crate::memory::Memory;

/// Wasmer's own tunables, but for host memories and the size of the wasm stack.
pub struct MemoryLender {
    base: BaseTunables,
    memory: Memory,
    vm_config: VMConfig,
}

impl MemoryLender {
    /// Every host memory of the store will be this one.
    pub fn new(memory: Memory, vm_config: VMConfig) -> Self {
        Self {
            base: BaseTunables::new(),
            memory,
            vm_config,
        }
    }
}

impl Tunables for MemoryLender {
    fn memory_style(&self, memory: &MemoryType) -> MemoryStyle {
        self.base.memory_style(memory)
    }

    fn table_style(&self, table: &TableType) -> TableStyle {
        self.base.table_style(table)
    }

    fn create_host_memory(
        &self,
        _type: &MemoryType,
        _style: &MemoryStyle,
    ) -> Result<VMMemory, MemoryError> {
        self.memory.try_clone().map(VMMemory)
    }

    unsafe fn create_vm_memory(
        &self,
        memory_type: &MemoryType,
        style: &MemoryStyle,
        location: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        // SAFETY: the caller's promise is handed on.
        unsafe { self.base.create_vm_memory(memory_type, style, location) }
    }

    fn create_host_table(&self, table: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        self.base.create_host_table(table, style)
    }

    unsafe fn create_vm_table(
        &self,
        table: &TableType,
        style: &TableStyle,
        location: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        // SAFETY: the caller's promise is handed on.
        unsafe { self.base.create_vm_table(table, style, location) }
    }

    fn vmconfig(&self) -> &VMConfig {
        &self.vm_config
    }
}
