//! The commands of a module as exported functions of i32, many commands to a call.

use anyhow::{Context, Result};
use wasm_encoder::{BlockType, ExportKind, ExportSection, Function, Instruction as I, ValType};

use crate::binary::Module;

/// How many commands share one call into the engine.
const BATCH_SIZE: usize = 200;

/// One command, as a function `() -> i32` that belongs to the module.
pub struct Command {
    pub line: usize,
    pub body: Function,
    /// The trap that must happen; None where the function must return 1.
    pub trap: Option<String>,
}

/// Calls into the engine, in the order of the script.
pub enum Step {
    /// An export `(from: i32, to: i32) -> i32` that carries out the commands of these lines, from
    /// number `from` to before number `to`, and returns the number of the first that failed, or -1.
    /// The export `progress` returns the number of the one that ran last.
    Batch { export: String, lines: Vec<usize> },
    /// An export `() -> i32` that must trap.
    Trap { export: String, line: usize, message: String },
}

/// Where the added functions stand in the module's index spaces.
pub struct Plan {
    pub first_type: u32,
    pub steps: Vec<Step>,
    first_function: u32,
    command_count: u32,
    /// Numbers of the commands of each batch.
    batches: Vec<Vec<u32>>,
    /// The global that holds the number of the running command.
    progress: u32,
    exports: Vec<(String, u32)>,
}

impl Plan {
    /// Parameters and results of the added types: those of commands and those of batches.
    pub const TYPES: [(&'static [ValType], &'static [ValType]); 2] =
        [(&[], &[ValType::I32]), (&[ValType::I32, ValType::I32], &[ValType::I32])];

    pub fn new(module: &Module, commands: &[Command]) -> Result<Self> {
        let mut plan = Plan {
            first_type: u32::try_from(module.types.len())?,
            steps: Vec::new(),
            first_function: u32::try_from(module.functions.len())?,
            command_count: u32::try_from(commands.len())?,
            batches: Vec::new(),
            progress: u32::try_from(module.globals.len())?,
            exports: Vec::new(),
        };
        for (number, command) in (0..).zip(commands) {
            match &command.trap {
                Some(message) => plan.add_trap(number, command.line, message),
                None => plan.add_to_batch(number, command.line)?,
            }
        }
        let progress =
            plan.first_function + plan.command_count + u32::try_from(plan.batches.len())?;
        plan.exports.push(("progress".to_string(), progress));
        Ok(plan)
    }

    /// Types of the added functions: commands, batches, `progress`.
    pub fn function_types(&self) -> impl Iterator<Item = u32> {
        let commands = (0..self.command_count).map(|_| self.first_type);
        let batches = self.batches.iter().map(|_| self.first_type + 1);
        commands.chain(batches).chain([self.first_type])
    }

    pub fn exports(&self) -> ExportSection {
        let mut exports = ExportSection::new();
        for (name, index) in &self.exports {
            exports.export(name, ExportKind::Func, *index);
        }
        exports
    }

    pub fn bodies(&self, commands: &[Command]) -> Vec<Function> {
        let mut progress = Function::new([]);
        progress.instruction(&I::GlobalGet(self.progress)).instruction(&I::End);
        commands
            .iter()
            .map(|command| command.body.clone())
            .chain(self.batches.iter().map(|batch| self.batch_body(batch)))
            .chain([progress])
            .collect()
    }

    fn add_trap(&mut self, number: u32, line: usize, message: &str) {
        let export = format!("trap{number}");
        self.exports.push((export.clone(), self.first_function + number));
        self.steps.push(Step::Trap { export, line, message: message.to_string() });
    }

    fn add_to_batch(&mut self, number: u32, line: usize) -> Result<()> {
        let open = match self.steps.last() {
            Some(Step::Batch { lines, .. }) => lines.len() < BATCH_SIZE,
            _ => false,
        };
        if !open {
            let index = u32::try_from(self.batches.len())?;
            let export = format!("batch{index}");
            let function = self.first_function + self.command_count + index;
            self.exports.push((export.clone(), function));
            self.steps.push(Step::Batch { export, lines: Vec::new() });
            self.batches.push(Vec::new());
        }
        if let Some(Step::Batch { lines, .. }) = self.steps.last_mut() {
            lines.push(line);
        }
        self.batches.last_mut().context("a batch is open")?.push(number);
        Ok(())
    }

    fn batch_body(&self, batch: &[u32]) -> Function {
        let mut body = Function::new([]);
        for (position, number) in (0..).zip(batch) {
            for instruction in [
                I::LocalGet(0),
                I::I32Const(position),
                I::I32LeS,
                I::LocalGet(1),
                I::I32Const(position),
                I::I32GtS,
                I::I32And,
                I::If(BlockType::Empty),
                I::I32Const(position),
                I::GlobalSet(self.progress),
                I::Call(self.first_function + number),
                I::I32Eqz,
                I::If(BlockType::Empty),
                I::I32Const(position),
                I::Return,
                I::End,
                I::End,
            ] {
                body.instruction(&instruction);
            }
        }
        body.instruction(&I::I32Const(-1)).instruction(&I::End);
        body
    }
}
