//! Lets an interrupted call end where it spends its time in a library call.
//!
//! The signal of `interruption` only ends a call that it meets in compiled code. A loop around
//! large fills or copies is hardly ever there, so these go through functions that look whether the
//! call was cancelled when they are done. Compiled code finds them in a table of its instance.

use wasmer::ModuleInfo;
use wasmer::sys::vm::libcalls::{
    wasmer_vm_imported_memory32_fill, wasmer_vm_memory32_copy, wasmer_vm_memory32_fill,
};
use wasmer::sys::vm::{VMBuiltinFunctionIndex, VMContext, VMOffsets};

use crate::interruption::safepoint;

/// Replaces the library calls of one instance.
///
/// # Safety
/// `vmctx` is the context of an instance of that module, and no call runs on it.
pub unsafe fn install(vmctx: *mut VMContext, module: &ModuleInfo) {
    let offsets = VMOffsets::new(size_of::<usize>() as u8, module);
    type Index = VMBuiltinFunctionIndex;
    let replacements = [
        (
            Index::get_memory_copy_index(),
            wasmer_vm_memory32_copy as *const (),
            copy as *const (),
        ),
        (
            Index::get_memory_fill_index(),
            wasmer_vm_memory32_fill as *const (),
            fill as *const (),
        ),
        (
            Index::get_imported_memory_fill_index(),
            wasmer_vm_imported_memory32_fill as *const (),
            fill_imported as *const (),
        ),
    ];
    for (index, from, to) in replacements {
        let byte_offset = offsets.vmctx_builtin_function(index) as usize;
        // SAFETY: the table is part of the context, at this offset, and nobody reads it now.
        unsafe {
            let slot = vmctx.byte_add(byte_offset).cast::<*const ()>();
            assert!(
                [from, to].contains(&*slot),
                "Wasmer's table of library calls has changed"
            );
            *slot = to;
        }
    }
}

unsafe extern "C" fn copy(
    vmctx: *mut VMContext,
    to_memory: u32,
    from_memory: u32,
    to: u32,
    from: u32,
    byte_length: u32,
) {
    // SAFETY: compiled code makes the call that it would have made to Wasmer.
    unsafe { wasmer_vm_memory32_copy(vmctx, to_memory, from_memory, to, from, byte_length) };
    safepoint();
}

unsafe extern "C" fn fill(
    vmctx: *mut VMContext,
    memory: u32,
    to: u32,
    value: u32,
    byte_length: u32,
) {
    // SAFETY: as above.
    unsafe { wasmer_vm_memory32_fill(vmctx, memory, to, value, byte_length) };
    safepoint();
}

unsafe extern "C" fn fill_imported(
    vmctx: *mut VMContext,
    memory: u32,
    to: u32,
    value: u32,
    byte_length: u32,
) {
    // SAFETY: as above.
    unsafe { wasmer_vm_imported_memory32_fill(vmctx, memory, to, value, byte_length) };
    safepoint();
}
