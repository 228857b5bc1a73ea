//! Programs bound to memories.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmer::sys::NativeEngineExt;
use wasmer::sys::vm::{LinearMemory, VMCallerCheckedAnyfunc, VMConfig};
use wasmer::{Extern, ExternType, Store, Type, Value};

use crate::failure::{Failure, Kind};
use crate::interruption::Control;
use crate::memory::Memory;
use crate::program::Program;
use crate::safepoints;
use crate::tunables::MemoryLender;

/// An exported function of integers; it lives in its instance.
pub struct Function {
    /// What compiled code calls it by; the store owns what it points to.
    pub anyfunc: VMCallerCheckedAnyfunc,
    /// 32 or 64 for each parameter.
    pub parameter_bits: Vec<u8>,
    /// 32, 64, or 0 for no result.
    pub result_bits: u8,
}

struct Contents {
    // Boxed: callers hold their addresses.
    #[allow(clippy::vec_box)]
    functions: Vec<(String, Box<Function>)>,
    instance: wasmer::Instance,
    store: Store,
}

/// A program on a memory, in a store of its own.
pub struct Instance {
    /// Held for each use of the store, calls among them: a store is for one thread at a time.
    contents: Mutex<Contents>,
    pub control: Arc<Control>,
    pub vm_config: VMConfig,
    program: Arc<Program>,
}

// SAFETY: Wasmer's store is not Send because of host functions and references in it, and there are
// none: the one import is a memory. Nothing in it belongs to a thread, and the lock gives it to one
// thread at a time.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

/// Exclusive use of an instance's store.
pub struct Entered<'a>(#[allow(dead_code)] MutexGuard<'a, Contents>);

impl Instance {
    /// Binds a program to a memory.
    pub fn new(program: &Arc<Program>, memory: &Memory) -> Result<Self, Failure> {
        check_imports(program)?;
        let mut wasmer_engine = program.wasmer_engine.clone();
        let lender = MemoryLender::new(memory.clone(), program.engine.vm_config());
        wasmer_engine.set_tunables(lender);
        let mut store = Store::new(wasmer_engine);
        let import = wasmer::Memory::new(&mut store, memory.ty())
            .map(Extern::Memory)
            .map_err(|error| Failure::new(Kind::Limit, error.to_string()))?;
        let instance = wasmer::Instance::new_by_index(&mut store, &program.module, &[import])
            .map_err(|error| match error {
                wasmer::InstantiationError::Start(error) => Failure::from_runtime_error(&error),
                error => {
                    let message = format!("the program does not fit the memory: {error}");
                    Failure::new(Kind::Engine, message)
                }
            })?;
        Ok(Self {
            contents: Mutex::new(Contents {
                functions: Vec::new(),
                instance,
                store,
            }),
            control: Arc::new(Control::new(program.code.clone())),
            vm_config: program.engine.vm_config(),
            program: Arc::clone(program),
        })
    }

    /// Waits until no other thread uses the store.
    pub fn enter(&self) -> Entered<'_> {
        // A call that panicked broke nothing that the store relies on.
        Entered(self.contents.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The exported function of that name; valid as long as the instance.
    pub fn function(&self, name: &str) -> Result<*const Function, Failure> {
        let mut contents = self.enter().0;
        let contents = &mut *contents;
        let known = contents.functions.iter().find(|(known, _)| known == name);
        if let Some((_, function)) = known {
            return Ok(&raw const **function);
        }
        let function = Box::new(look_up(&contents.instance, &contents.store, name)?);
        if contents.functions.is_empty() {
            // SAFETY: the function is one of compiled code, so its environment is the instance's
            // context; no call has been made yet.
            unsafe {
                safepoints::install(function.anyfunc.vmctx.vmctx, self.program.module.info())
            };
        }
        let pointer = &raw const *function;
        contents.functions.push((name.to_owned(), function));
        Ok(pointer)
    }
}

fn check_imports(program: &Program) -> Result<(), Failure> {
    let imports: Vec<_> = program.module.imports().collect();
    if let [import] = &imports[..]
        && (import.module(), import.name()) == ("env", "memory")
        && matches!(import.ty(), ExternType::Memory(_))
    {
        return Ok(());
    }
    let names: Vec<String> = imports
        .iter()
        .map(|import| format!("{}.{}", import.module(), import.name()))
        .collect();
    let names = if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    };
    let message = format!("program imports {names}; expected exactly the memory env.memory");
    Err(Failure::new(Kind::Engine, message))
}

fn look_up(instance: &wasmer::Instance, store: &Store, name: &str) -> Result<Function, Failure> {
    let Ok(function) = instance.exports.get_function(name) else {
        let message = format!("the program exports no function {name:?}");
        return Err(Failure::new(Kind::Engine, message));
    };
    let signature = function.ty(store);
    let parameter_bits = signature
        .params()
        .iter()
        .copied()
        .map(bits)
        .collect::<Option<Vec<u8>>>();
    let result_bits = match signature.results() {
        [] => Some(0),
        [one] => bits(*one),
        _ => None,
    };
    let (Some(parameter_bits), Some(result_bits)) = (parameter_bits, result_bits) else {
        let message = format!(
            "exported function {name:?} has the type {signature}; expected only i32 and i64 and \
             at most one result"
        );
        return Err(Failure::new(Kind::Engine, message));
    };
    let raw = Value::FuncRef(Some(function.clone())).as_raw(store);
    // SAFETY: the raw form of a function reference is the address of its record, which the store
    // keeps until it is dropped.
    let anyfunc = unsafe { *(raw.funcref as *const VMCallerCheckedAnyfunc) };
    Ok(Function {
        anyfunc,
        parameter_bits,
        result_bits,
    })
}

fn bits(value_type: Type) -> Option<u8> {
    match value_type {
        Type::I32 => Some(32),
        Type::I64 => Some(64),
        _ => None,
    }
}
