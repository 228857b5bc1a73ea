//! The hot path: one call into compiled code.
//!
//! `wasmer::Function::call` clones the function's type three times and boxes every value; this
//! goes to Wasmer's trampoline directly, as that function does in the end.

use wasmer::sys::vm::wasmer_call_trampoline;

use crate::failure::Failure;
use crate::instance::{Function, Instance};

const INLINE_SLOT_COUNT: usize = 16;

/// A value as trampolines pass it: `wasmer_types::RawValue`, whose largest member is a v128.
#[repr(C, align(16))]
#[derive(Clone, Copy, Default)]
struct Slot {
    low: u64,
    high: u64,
}

/// Calls a function of the instance.
///
/// # Safety
/// `function` belongs to `instance`; `values` holds a word per parameter, at least one, and takes
/// the result.
pub unsafe fn call(
    instance: &Instance,
    function: &Function,
    values: *mut u64,
) -> Result<(), Failure> {
    let parameter_count = function.parameter_bits.len();
    let mut inline = [Slot::default(); INLINE_SLOT_COUNT];
    let mut spilled;
    let slots = if parameter_count <= INLINE_SLOT_COUNT {
        &mut inline[..]
    } else {
        spilled = vec![Slot::default(); parameter_count];
        &mut spilled[..]
    };
    for (index, slot) in slots.iter_mut().take(parameter_count).enumerate() {
        // SAFETY: the caller gave that many words.
        slot.low = unsafe { *values.add(index) };
    }
    let entered = instance.enter();
    let running = instance.control.begin();
    // SAFETY: the record is the store's, which `entered` keeps others out of; there are as many
    // slots as the function has parameters or results.
    let outcome = unsafe {
        wasmer_call_trampoline(
            None,
            &instance.vm_config,
            function.anyfunc.vmctx,
            function.anyfunc.call_trampoline,
            function.anyfunc.func_ptr,
            slots.as_mut_ptr().cast(),
        )
    };
    drop(running);
    drop(entered);
    outcome.map_err(Failure::from_trap)?;
    if function.result_bits != 0 {
        // SAFETY: the caller gave at least one word.
        unsafe { *values = slots[0].low };
    }
    Ok(())
}
