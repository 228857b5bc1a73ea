//! Converts one script: collects the commands of each module, then rewrites the modules.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow};
use wast::lexer::Lexer;
use wast::parser::{ParseBuffer, parse};
use wast::token::Span;
use wast::{QuoteWat, QuoteWatTest, Wast, WastDirective, WastExecute, WastInvoke, Wat};

use crate::batches::{self, Command};
use crate::binary::Module;
use crate::effects::state_changing_functions;
use crate::output::{self, Memory, Refusal, Script, Write};
use crate::rewrite::{Program, rewrite, rewrite_invalid};
use crate::spectest::{Link, link};
use crate::suites::Source;
use crate::{checks, features};

/// A module of a script with the commands that name it.
struct Unit<'a> {
    line: usize,
    /// None where the text could not be made into a module.
    wasm: Option<Vec<u8>>,
    /// What its imports become; or why it stands outside the engine contract.
    link: Result<Link>,
    actions: Vec<(usize, Action<'a>)>,
    /// What must happen when it is instantiated; None if that must succeed.
    start_trap: Option<&'a str>,
    /// From this line on another module may have changed what it shares.
    shared_from: Option<usize>,
}

enum Action<'a> {
    Return(WastExecute<'a>, Vec<wast::WastRet<'a>>),
    Trap(WastExecute<'a>, String),
    Exhaustion(WastInvoke<'a>, String),
    Invoke(WastInvoke<'a>),
}

struct Converter<'a> {
    text: &'a str,
    script: Script,
    units: Vec<Unit<'a>>,
    current: Option<usize>,
    named: HashMap<String, usize>,
    registered: HashMap<String, usize>,
}

/// Converts a script.
pub fn convert(source: &Source) -> Result<Script> {
    let mut lexer = Lexer::new(source.text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer)?;
    let script: Wast = parse(&buffer)?;
    let mut converter = Converter::new(source);
    for directive in script.directives {
        converter.collect(directive);
    }
    let units = std::mem::take(&mut converter.units);
    for unit in &units {
        converter.finish(unit);
    }
    Ok(converter.script)
}

impl<'a> Converter<'a> {
    fn new(source: &'a Source) -> Self {
        let script = Script {
            name: format!("{}/{}", source.suite, source.name),
            group: source.group,
            modules: Vec::new(),
            refusals: Vec::new(),
            outside: Vec::new(),
            binaries: Vec::new(),
        };
        Converter {
            text: source.text,
            script,
            units: Vec::new(),
            current: None,
            named: HashMap::new(),
            registered: HashMap::new(),
        }
    }

    fn collect(&mut self, directive: WastDirective<'a>) {
        let line = self.line(directive.span());
        match directive {
            WastDirective::Module(module) => self.open(line, module),
            WastDirective::AssertInvalid { module, message, .. } => {
                self.refuse(line, module, message, true);
            }
            WastDirective::AssertMalformed { module, message, .. } => {
                self.refuse(line, module, message, false);
            }
            WastDirective::Register { module, name, .. } => {
                if let Some(unit) = self.unit_of(module.map(|id| id.name())) {
                    self.registered.insert(name.to_string(), unit);
                }
            }
            WastDirective::Invoke(invoke) => {
                let unit = self.unit_of(invoke.module.map(|id| id.name()));
                self.act(line, unit, Action::Invoke(invoke));
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                let unit = self.unit_of_action(&exec);
                self.act(line, unit, Action::Return(exec, results));
            }
            WastDirective::AssertTrap { exec: WastExecute::Wat(module), message, .. } => {
                self.open_trapping(line, module, message);
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let unit = self.unit_of_action(&exec);
                self.act(line, unit, Action::Trap(exec, message.to_string()));
            }
            WastDirective::AssertException { exec, .. } => {
                let unit = self.unit_of_action(&exec);
                self.act(line, unit, Action::Trap(exec, "uncaught exception".to_string()));
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let unit = self.unit_of(call.module.map(|id| id.name()));
                self.act(line, unit, Action::Exhaustion(call, message.to_string()));
            }
            WastDirective::AssertUnlinkable { .. } => {
                self.script.leave_out(line, "linking of modules");
                self.share(line);
            }
            _ => self.script.leave_out(line, "commands of other proposals"),
        }
    }

    fn line(&self, span: Span) -> usize {
        span.linecol_in(self.text).0 + 1
    }

    fn unit_of(&self, name: Option<&str>) -> Option<usize> {
        match name {
            Some(name) => self.named.get(name).copied(),
            None => self.current,
        }
    }

    fn unit_of_action(&self, execute: &WastExecute) -> Option<usize> {
        match execute {
            WastExecute::Invoke(invoke) => self.unit_of(invoke.module.map(|id| id.name())),
            WastExecute::Get { module, .. } => self.unit_of(module.map(|id| id.name())),
            WastExecute::Wat(_) => None,
        }
    }

    fn open(&mut self, line: usize, mut module: QuoteWat<'a>) {
        let name = module.name().map(|id| id.name().to_string());
        self.push(line, module.encode().ok(), None);
        self.current = Some(self.units.len() - 1);
        if let (Some(name), Some(unit)) = (name, self.current) {
            self.named.insert(name, unit);
        }
    }

    fn open_trapping(&mut self, line: usize, mut module: Wat<'a>, message: &'a str) {
        self.push(line, module.encode().ok(), Some(message));
    }

    fn push(&mut self, line: usize, wasm: Option<Vec<u8>>, start_trap: Option<&'a str>) {
        let link = self.resolve(wasm.as_deref());
        if link.is_err() {
            self.share(line);
        }
        let (actions, shared_from) = (Vec::new(), None);
        self.units.push(Unit { line, wasm, link, actions, start_trap, shared_from });
    }

    fn resolve(&self, wasm: Option<&[u8]>) -> Result<Link> {
        let module = Module::parse(wasm.context("the text format")?);
        let module = module.map_err(|_| anyhow!("other proposals"))?;
        link(&module.imports, |module, name| {
            let exporter = &self.units[*self.registered.get(module)?];
            let exporter = Module::parse(exporter.wasm.as_ref()?).ok()?;
            exporter.constant_function(name).map(<[u8]>::to_vec)
        })
    }

    /// Notes that a module may have changed memories, tables or globals of registered ones.
    fn share(&mut self, line: usize) {
        for unit in self.registered.values() {
            self.units[*unit].shared_from.get_or_insert(line);
        }
    }

    fn act(&mut self, line: usize, unit: Option<usize>, action: Action<'a>) {
        match unit {
            Some(unit) => self.units[unit].actions.push((line, action)),
            None => self.script.leave_out(line, "a command without a module"),
        }
    }

    fn refuse(&mut self, line: usize, mut module: QuoteWat, message: &str, parses: bool) {
        let Ok(QuoteWatTest::Binary(wasm)) = module.to_test() else {
            self.script.leave_out(line, "the text format");
            return;
        };
        if features::is_valid_anywhere(&wasm) {
            self.script.leave_out(line, "modules that a later version made valid");
            return;
        }
        let rewritten = Module::parse(&wasm)
            .ok()
            .filter(|_| parses)
            .and_then(|module| rewrite_invalid(&module, message.starts_with("unknown memory")))
            .filter(|wasm| !features::is_valid_anywhere(wasm));
        let wasm = self.script.store(&rewritten.unwrap_or(wasm));
        self.script.refusals.push(Refusal { line, wasm, message: message.to_string() });
    }

    /// Rewrites a module with all its commands, or leaves them out.
    fn finish(&mut self, unit: &Unit) {
        let lines: Vec<usize> = unit.actions.iter().map(|(line, _)| *line).collect();
        if let Err(reason) = self.try_finish(unit) {
            for line in [unit.line].into_iter().chain(lines) {
                self.script.leave_out(line, &reason.to_string());
            }
        }
    }

    fn try_finish(&mut self, unit: &Unit) -> Result<()> {
        let link = unit.link.as_ref().map_err(|reason| anyhow!("{reason}"))?;
        let wasm = unit.wasm.as_ref().context("the text format")?;
        let module = Module::parse(wasm)?;
        let (commands, left_out) = commands(unit, &module)?;
        let program = rewrite(&module, link, &commands)?;
        let features = features::needed(&program.wasm).context("other proposals")?;
        for (line, reason) in left_out {
            self.script.leave_out(line, &reason);
        }
        let instantiates = unit.start_trap.is_none() || module.start.is_some();
        self.add(unit.line, program, features, instantiates);
        Ok(())
    }

    fn add(
        &mut self,
        line: usize,
        program: Program,
        features: Vec<&'static str>,
        instantiates: bool,
    ) {
        let memory = Memory {
            min_page_count: program.memory.initial,
            max_page_count: program.memory.maximum.unwrap_or(program.memory.initial),
            shared: program.memory.shared,
            index64: program.memory.memory64,
        };
        let wasm = self.script.store(&program.wasm);
        let mut writes = Vec::new();
        for (byte_offset, bytes) in &program.writes {
            writes.push(Write { byte_offset: *byte_offset, bytes: self.script.store(bytes) });
        }
        let steps = program.steps.into_iter().map(output_step).collect();
        let module = output::Module { line, wasm, features, memory, writes, instantiates, steps };
        self.script.modules.push(module);
    }
}

fn output_step(step: batches::Step) -> output::Step {
    match step {
        batches::Step::Batch { export, lines } => output::Step::Batch { export, lines },
        batches::Step::Trap { export, line, message } => {
            output::Step::Trap { export, line, message }
        }
    }
}

/// Lines of commands that were left out, and why.
type Reasons = Vec<(usize, String)>;

/// The commands of a module, and those that must be left out with the reasons.
fn commands(unit: &Unit, module: &Module) -> Result<(Vec<Command>, Reasons)> {
    let (mut commands, mut left_out) = (Vec::new(), Vec::new());
    if let Some(start) = module.start {
        let trap = unit.start_trap.map(str::to_string);
        commands.push(Command { line: unit.line, body: checks::run_start(start), trap });
    }
    let changing = state_changing_functions(module)?;
    let mut lost = false;
    for (line, action) in &unit.actions {
        if unit.shared_from.is_some_and(|from| *line > from) {
            left_out.push((*line, "state that modules share".to_string()));
        } else if lost {
            left_out.push((*line, "commands after one that was left out".to_string()));
        } else {
            match command(module, *line, action) {
                Ok(command) => commands.push(command),
                Err(reason) => {
                    lost = action.callee(module).is_some_and(|index| changing.contains(&index));
                    left_out.push((*line, reason.to_string()));
                }
            }
        }
    }
    Ok((commands, left_out))
}

impl Action<'_> {
    /// The function that it calls.
    fn callee(&self, module: &Module) -> Option<u32> {
        let name = match self {
            Action::Return(WastExecute::Invoke(invoke), _)
            | Action::Trap(WastExecute::Invoke(invoke), _)
            | Action::Exhaustion(invoke, _)
            | Action::Invoke(invoke) => invoke.name,
            _ => return None,
        };
        module.exports.get(name).map(|(_, index)| *index)
    }
}

fn command(module: &Module, line: usize, action: &Action) -> Result<Command> {
    let (body, trap) = match action {
        Action::Return(execute, results) => (checks::check(module, execute, results)?, None),
        Action::Trap(execute, message) => (checks::run(module, execute)?, Some(message)),
        Action::Exhaustion(invoke, message) => (checks::run_invoke(module, invoke)?, Some(message)),
        Action::Invoke(invoke) => (checks::run_invoke(module, invoke)?, None),
    };
    Ok(Command { line, body, trap: trap.cloned() })
}
