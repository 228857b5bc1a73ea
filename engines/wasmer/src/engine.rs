//! The engine: which compiler, for which CPU, with which native stack.

use wasmer::Store;
use wasmer::sys::vm::VMConfig;
use wasmer::sys::{
    CompilerConfig, Cranelift, CraneliftOptLevel, EngineBuilder, Features, Singlepass, Target,
};

use crate::failure::{Failure, Kind};
use crate::interruption;

/// Wasmer's version; Cargo.toml demands exactly this one.
pub const WASMER_VERSION: &str = wasmer::sys::vm::VERSION;

/// A compiler of Wasmer's; the numbers are ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// Optimises; SIMD.
    Cranelift,
    /// One pass over the code, no SIMD.
    Singlepass,
}

impl Compiler {
    /// The name that images carry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cranelift => "cranelift",
            Self::Singlepass => "singlepass",
        }
    }

    fn from_number(number: u32) -> Result<Self, Failure> {
        match number {
            0 => Ok(Self::Cranelift),
            1 => Ok(Self::Singlepass),
            _ => Err(Failure::new(
                Kind::Engine,
                format!("compiler number {number} is unknown"),
            )),
        }
    }

    fn config(self) -> Box<dyn CompilerConfig> {
        match self {
            Self::Cranelift => {
                let mut config = Cranelift::new();
                config.opt_level(CraneliftOptLevel::Speed);
                config.canonicalize_nans(false);
                Box::new(config)
            }
            Self::Singlepass => {
                let mut config = Singlepass::new();
                config.canonicalize_nans(false);
                Box::new(config)
            }
        }
    }
}

/// What programs are compiled with and calls run with. Immutable.
pub struct Engine {
    pub compiler: Compiler,
    pub target: Target,
    features: Features,
    max_wasm_stack_byte_length: usize,
}

impl Engine {
    /// Creates an engine and installs the process's signal handlers, Wasmer's and ours.
    pub fn new(compiler: u32, max_wasm_stack_byte_length: usize) -> Result<Self, Failure> {
        let compiler = Compiler::from_number(compiler)?;
        let target = Target::default();
        let features = compiler.config().supported_features_for_target(&target);
        let engine = Self {
            compiler,
            target,
            features,
            max_wasm_stack_byte_length,
        };
        drop(Store::new(engine.new_wasmer_engine())); // a store installs Wasmer's handlers
        interruption::install();
        Ok(engine)
    }

    /// A Wasmer engine for one program: it keeps all code that it ever compiled.
    pub fn new_wasmer_engine(&self) -> wasmer::Engine {
        EngineBuilder::new(self.compiler.config())
            .set_target(Some(self.target.clone()))
            .set_features(Some(self.features.clone()))
            .engine()
            .into()
    }

    /// How calls are run.
    pub fn vm_config(&self) -> VMConfig {
        VMConfig {
            wasm_stack_size: Some(self.max_wasm_stack_byte_length),
        }
    }

    /// The CPU features that the compilers of Wasmer know and this machine has, sorted.
    pub fn cpu_features(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .target
            .cpu_features()
            .iter()
            .map(|f| f.to_string())
            .collect();
        names.sort();
        names
    }
}
