//! Compiled modules.

use std::ops::Range;
use std::sync::Arc;

use wasmer::Module;

use crate::engine::Engine;
use crate::failure::{Failure, Kind};
use crate::image;

const COMPILER_STACK_BYTE_LENGTH: usize = 8 << 20;

/// A compiled module with a Wasmer engine of its own. Immutable.
///
/// A Wasmer engine frees code only when it is dropped itself, so one for all programs would grow
/// with every compilation.
pub struct Program {
    // Dropped before the engine that owns its code.
    pub module: Module,
    pub wasmer_engine: wasmer::Engine,
    pub engine: Arc<Engine>,
    /// Addresses of the compiled functions.
    pub code: Range<usize>,
}

impl Program {
    /// Validates and compiles a module.
    pub fn compile(engine: &Arc<Engine>, wasm: &[u8]) -> Result<Self, Failure> {
        let wasmer_engine = engine.new_wasmer_engine();
        let module = with_own_threads(|| Module::from_binary(&wasmer_engine, wasm))?
            .map_err(|error| Failure::new(Kind::Compile, error.to_string()))?;
        Ok(Self::new(engine, wasmer_engine, module))
    }

    /// Loads what `serialize` gave.
    ///
    /// # Safety
    /// The image is machine code and must come from `serialize`.
    pub unsafe fn deserialize(engine: &Arc<Engine>, image: &[u8]) -> Result<Self, Failure> {
        let body = image::unwrap(engine, image)?.to_vec();
        let wasmer_engine = engine.new_wasmer_engine();
        // SAFETY: the caller's promise.
        let module = unsafe { Module::deserialize(&wasmer_engine, body) }
            .map_err(|error| Failure::new(Kind::Compile, error.to_string()))?;
        Ok(Self::new(engine, wasmer_engine, module))
    }

    /// The compiled image.
    pub fn serialize(&self) -> Result<Vec<u8>, Failure> {
        let body = self
            .module
            .serialize()
            .map_err(|error| Failure::new(Kind::Engine, error.to_string()))?;
        Ok(image::wrap(&self.engine, &body))
    }

    fn new(engine: &Arc<Engine>, wasmer_engine: wasmer::Engine, module: Module) -> Self {
        Self {
            code: code_range(&module),
            module,
            wasmer_engine,
            engine: Arc::clone(engine),
        }
    }
}

/// Runs a compilation on threads that end with it.
///
/// Wasmer would use rayon's global threads: a child that forked later has none of them, and would
/// wait for them for ever. Nor does it depend on the size of the caller's stack this way.
fn with_own_threads<R: Send>(compile: impl FnOnce() -> R + Send) -> Result<R, Failure> {
    let pool = rayon::ThreadPoolBuilder::new()
        .stack_size(COMPILER_STACK_BYTE_LENGTH)
        .build()
        .map_err(|error| Failure::new(Kind::Engine, format!("no thread to compile on: {error}")))?;
    Ok(pool.install(compile))
}

fn code_range(module: &Module) -> Range<usize> {
    let extents = module
        .sys_artifact()
        .and_then(|artifact| artifact.finished_function_extents())
        .unwrap_or_default();
    extents
        .iter()
        .fold(0..0, |range: Range<usize>, (_, extent)| {
            let start = *extent.ptr as usize;
            let end = start + extent.length;
            match range.is_empty() {
                true => start..end,
                false => range.start.min(start)..range.end.max(end),
            }
        })
}
