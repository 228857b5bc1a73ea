//! The C functions. Their declarations are in `plugins/wasmer/declarations.h`.
//!
//! Objects are owned pointers, given by a `_new` and taken back by a `_delete`; those that others
//! depend on are counted, so any order of deletion is fine. Pointers must be valid and not null:
//! the plugin is the only caller.

#![allow(clippy::missing_safety_doc)] // one rule for all, above

use std::ffi::c_char;
use std::slice;
use std::sync::Arc;

use crate::call::call;
use crate::engine::{Engine, WASMER_VERSION};
use crate::failure::{Failure, Kind, guard, silence_panics};
use crate::instance::{Function, Instance};
use crate::interruption;
use crate::memory::Memory;
use crate::program::Program;

/// Changes with every change of a declaration.
pub const ABI_VERSION: u32 = 1;

#[unsafe(no_mangle)]
pub extern "C" fn iwh_wasmer_abi_version() -> u32 {
    ABI_VERSION
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_version(byte_length: *mut usize) -> *const c_char {
    unsafe { lend(WASMER_VERSION, byte_length) }
}

// Failures

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_failure_kind(failure: *const Failure) -> u32 {
    unsafe { (*failure).kind as u32 }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_failure_trap_code(failure: *const Failure) -> i32 {
    unsafe { (*failure).trap_code }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_failure_message(
    failure: *const Failure,
    byte_length: *mut usize,
) -> *const c_char {
    unsafe { lend(&(*failure).message, byte_length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_failure_frame_count(failure: *const Failure) -> usize {
    unsafe { (*failure).frames.len() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_failure_frame(
    failure: *const Failure,
    index: usize,
    byte_length: *mut usize,
) -> *const c_char {
    unsafe { lend(&(&(*failure).frames)[index], byte_length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_failure_delete(failure: *mut Failure) {
    drop(unsafe { Box::from_raw(failure) });
}

// Engines

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_engine_new(
    compiler: u32,
    max_wasm_stack_byte_length: usize,
    result: *mut *const Engine,
) -> *mut Failure {
    silence_panics();
    guard(|| {
        let engine = Engine::new(compiler, max_wasm_stack_byte_length)?;
        unsafe { *result = Arc::into_raw(Arc::new(engine)) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_engine_delete(engine: *const Engine) {
    drop(unsafe { Arc::from_raw(engine) });
}

#[unsafe(no_mangle)]
pub extern "C" fn iwh_wasmer_can_interrupt() -> bool {
    interruption::is_supported()
}

// Programs

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_program_new(
    engine: *const Engine,
    wasm: *const u8,
    byte_length: usize,
    result: *mut *const Program,
) -> *mut Failure {
    guard(|| unsafe {
        let program = Program::compile(&borrow(engine), bytes(wasm, byte_length))?;
        *result = Arc::into_raw(Arc::new(program));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_program_deserialize(
    engine: *const Engine,
    image: *const u8,
    byte_length: usize,
    result: *mut *const Program,
) -> *mut Failure {
    guard(|| unsafe {
        let program = Program::deserialize(&borrow(engine), bytes(image, byte_length))?;
        *result = Arc::into_raw(Arc::new(program));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_program_serialize(
    program: *const Program,
    result: *mut *mut u8,
    byte_length: *mut usize,
) -> *mut Failure {
    guard(|| unsafe {
        let image = (*program).serialize()?.into_boxed_slice();
        *byte_length = image.len();
        *result = Box::into_raw(image).cast();
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_image_delete(image: *mut u8, byte_length: usize) {
    let image = std::ptr::slice_from_raw_parts_mut(image, byte_length);
    drop(unsafe { Box::from_raw(image) });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_program_delete(program: *const Program) {
    drop(unsafe { Arc::from_raw(program) });
}

// Memories

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_memory_new(
    min_page_count: u32,
    max_page_count: u32,
    shared: bool,
    result: *mut *mut Memory,
) -> *mut Failure {
    guard(|| {
        let memory = Memory::new(min_page_count, max_page_count, shared)?;
        unsafe { *result = Box::into_raw(Box::new(memory)) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_memory_base(memory: *const Memory) -> *mut u8 {
    unsafe { (*memory).base() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_memory_page_count(memory: *const Memory) -> u32 {
    unsafe { (*memory).page_count() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_memory_grow(
    memory: *const Memory,
    delta_page_count: u32,
) -> *mut Failure {
    guard(|| unsafe { (*memory).grow(delta_page_count) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_memory_delete(memory: *mut Memory) {
    drop(unsafe { Box::from_raw(memory) });
}

// Instances and calls

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_instance_new(
    program: *const Program,
    memory: *const Memory,
    result: *mut *mut Instance,
) -> *mut Failure {
    guard(|| unsafe {
        let instance = Instance::new(&borrow(program), &*memory)?;
        *result = Box::into_raw(Box::new(instance));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_instance_function(
    instance: *const Instance,
    name: *const u8,
    byte_length: usize,
    result: *mut *const Function,
) -> *mut Failure {
    guard(|| unsafe {
        let name = std::str::from_utf8(bytes(name, byte_length))
            .map_err(|error| Failure::new(Kind::Engine, error.to_string()))?;
        *result = (*instance).function(name)?;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_function_parameter_bits(
    function: *const Function,
    parameter_count: *mut usize,
) -> *const u8 {
    unsafe {
        let parameter_bits = &(*function).parameter_bits;
        *parameter_count = parameter_bits.len();
        parameter_bits.as_ptr()
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_function_result_bits(function: *const Function) -> u8 {
    unsafe { (*function).result_bits }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_call(
    instance: *const Instance,
    function: *const Function,
    values: *mut u64,
) -> *mut Failure {
    guard(|| unsafe { call(&*instance, &*function, values) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_instance_interrupt(instance: *const Instance) -> *mut Failure {
    guard(|| unsafe { (*instance).control.interrupt() })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn iwh_wasmer_instance_delete(instance: *mut Instance) {
    drop(unsafe { Box::from_raw(instance) });
}

/// Another reference to a counted object.
unsafe fn borrow<T>(pointer: *const T) -> Arc<T> {
    unsafe {
        Arc::increment_strong_count(pointer);
        Arc::from_raw(pointer)
    }
}

unsafe fn bytes<'a>(pointer: *const u8, byte_length: usize) -> &'a [u8] {
    if byte_length == 0 {
        return &[]; // the pointer may be null then
    }
    unsafe { slice::from_raw_parts(pointer, byte_length) }
}

unsafe fn lend(text: &str, byte_length: *mut usize) -> *const c_char {
    unsafe { *byte_length = text.len() };
    text.as_ptr().cast()
}
