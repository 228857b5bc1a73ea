//! Linear memories that exist before any store.
//!
//! In Wasmer a memory belongs to one store, unless it is shared. Ours are all of Wasmer's shared
//! kind, each store gets a handle on the same region, and `shared` is merely the type that the
//! handles report to the linker: so an unshared memory can be imported by many instances as well,
//! and nobody waits for anybody.
//!
//! Wasmer reserves 8 GiB per memory, the 4 GiB of the index space and as much for offsets, and
//! commits pages as the memory grows: the base never moves and compiled code checks no bounds.

use std::ptr::NonNull;
use std::time::Duration;

use wasmer::sys::vm::{
    ExpectedValue, LinearMemory, MemoryError, MemoryStyle, ThreadConditions, VMMemoryDefinition,
    VMSharedMemory, WaiterError,
};
use wasmer::{MemoryType, Pages};

use crate::failure::{Failure, Kind};
use crate::interruption::safepoint;

/// A handle as Wasmer's stores keep it.
pub type Handle = Box<dyn LinearMemory + Send + Sync + 'static>;

/// A memory; clones are handles on the same region, which goes with the last one.
#[derive(Clone, Debug)]
pub struct Memory(VMSharedMemory);

impl Memory {
    /// Creates a zeroed memory.
    pub fn new(min_page_count: u32, max_page_count: u32, shared: bool) -> Result<Self, Failure> {
        let limit = MemoryStyle::static_bound().0;
        if min_page_count > max_page_count || max_page_count > limit {
            let message =
                format!("limits of {min_page_count} to {max_page_count} pages are invalid");
            return Err(Failure::new(Kind::Engine, message));
        }
        let memory_type = MemoryType::new(min_page_count, Some(max_page_count), shared);
        VMSharedMemory::new(&memory_type, &MemoryStyle::Static)
            .map(Self)
            .map_err(refuse)
    }

    /// Address of byte 0.
    pub fn base(&self) -> *mut u8 {
        // SAFETY: the definition lives as long as the region, and its base is never written again.
        unsafe { self.0.vmmemory().as_ref().base }
    }

    /// Current size.
    pub fn page_count(&self) -> u32 {
        self.0.size().0
    }

    /// Grows in place.
    pub fn grow(&self, delta_page_count: u32) -> Result<(), Failure> {
        let base = self.base();
        let mut handle = self.0.clone();
        handle.grow(Pages(delta_page_count)).map_err(refuse)?;
        assert_eq!(base, self.base(), "a static memory moved");
        Ok(())
    }

    fn is_shared(&self) -> bool {
        self.0.ty().shared
    }
}

impl LinearMemory for Memory {
    fn ty(&self) -> MemoryType {
        self.0.ty()
    }

    fn size(&self) -> Pages {
        self.0.size()
    }

    fn style(&self) -> MemoryStyle {
        self.0.style()
    }

    fn grow(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        self.0.grow(delta)
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.0.vmmemory()
    }

    fn try_clone(&self) -> Result<Handle, MemoryError> {
        Ok(Box::new(self.clone()))
    }

    fn copy(&self) -> Result<Handle, MemoryError> {
        Ok(Box::new(Self(self.0.copy()?)))
    }

    unsafe fn do_wait(
        &mut self,
        address: u32,
        expected: ExpectedValue,
        timeout: Option<Duration>,
    ) -> Result<u32, WaiterError> {
        if !self.is_shared() {
            return Err(WaiterError::Unimplemented); // waiting needs a shared memory: it traps
        }
        // SAFETY: the caller's promise is handed on.
        let outcome = unsafe { self.0.do_wait(address, expected, timeout) };
        safepoint();
        outcome
    }

    fn do_notify(&mut self, address: u32, count: u32) -> u32 {
        self.0.do_notify(address, count)
    }

    fn thread_conditions(&self) -> Option<&ThreadConditions> {
        self.0.thread_conditions()
    }
}

fn refuse(error: MemoryError) -> Failure {
    Failure::new(Kind::Limit, error.to_string())
}
