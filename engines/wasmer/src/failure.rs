//! What went wrong, as an owned object that C can read.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use wasmer::RuntimeError;
use wasmer::sys::vm::Trap;

use crate::interruption::Interrupted;

/// Which exception of the plugin a failure becomes; the numbers are ABI.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A wrong use that names itself.
    Engine = 0,
    /// The module or image is refused.
    Compile = 1,
    /// The machine does not give the memory.
    Limit = 2,
    /// A trap; the code is one of `wasmer::vm::TrapCode`.
    Trap = 3,
    /// The call was interrupted.
    Interrupted = 4,
    /// A panic inside Wasmer or this library.
    Panic = 5,
}

/// A failure and what is known about it.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    /// Wasmer's trap code, or -1.
    pub trap_code: i32,
    pub message: String,
    /// Names of the wasm functions on the stack, innermost first.
    pub frames: Vec<String>,
}

impl Failure {
    /// A failure that is no trap.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            trap_code: -1,
            message: message.into(),
            frames: Vec::new(),
        }
    }

    /// What ended a call.
    pub fn from_trap(trap: Trap) -> Self {
        if trap.is::<Interrupted>() {
            return Self::new(Kind::Interrupted, "interrupted");
        }
        Self::from_runtime_error(&RuntimeError::from(trap))
    }

    /// What ended a call or an instantiation.
    pub fn from_runtime_error(error: &RuntimeError) -> Self {
        let frames = error
            .trace()
            .iter()
            .map(|frame| match frame.function_name() {
                Some(name) => name.to_owned(),
                None => format!("function {}", frame.func_index()),
            });
        Self {
            kind: Kind::Trap,
            trap_code: error.clone().to_trap().map_or(-1, |code| code as i32),
            message: error.message(),
            frames: frames.collect(),
        }
    }
}

/// Runs a function and turns what it returns, or its panic, into an owned pointer for C.
pub fn guard(function: impl FnOnce() -> Result<(), Failure>) -> *mut Failure {
    let outcome = catch_unwind(AssertUnwindSafe(function))
        .unwrap_or_else(|panic| Err(Failure::new(Kind::Panic, panic_message(&*panic))));
    match outcome {
        Ok(()) => std::ptr::null_mut(),
        Err(failure) => Box::into_raw(Box::new(failure)),
    }
}

/// Keeps panics off standard error: `guard` reports them.
///
/// The hook is that of the standard library inside this shared library, and of nobody else's.
pub fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| ())));
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure() {
        silence_panics();
        let failure = guard(|| panic!("at {}", 7));
        let failure = unsafe { Box::from_raw(failure) };
        assert_eq!(failure.kind, Kind::Panic);
        assert_eq!(failure.message, "at 7");
    }
}
