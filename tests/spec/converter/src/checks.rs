//! Bodies of the functions that carry out one command: call, compare, return 1 or 0.

use anyhow::{Context, Result, bail};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{Function, HeapType, Instruction as I, ValType};
use wasmparser::ExternalKind;
use wast::core::{NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastExecute, WastInvoke, WastRet};

use crate::binary::Module;

/// What a command does before its results are looked at.
struct Action {
    instructions: Vec<I<'static>>,
    results: Vec<ValType>,
}

/// A function `() -> i32` that acts and returns whether each result is as expected.
pub fn check(module: &Module, execute: &WastExecute, expected: &[WastRet]) -> Result<Function> {
    let action = action(module, execute)?;
    if action.results.len() != expected.len() {
        bail!("a command with another number of results");
    }
    let mut body = Function::new_with_locals_types(action.results.iter().copied());
    emit(&mut body, &action.instructions);
    for local in (0..action.results.len()).rev() {
        body.instruction(&I::LocalSet(u32::try_from(local)?));
    }
    body.instruction(&I::I32Const(1));
    for (local, result) in expected.iter().enumerate() {
        emit(&mut body, &comparison(core_result(result)?, u32::try_from(local)?)?);
        body.instruction(&I::I32And);
    }
    body.instruction(&I::End);
    Ok(body)
}

/// A function `() -> i32` that acts, drops the results and returns 1.
pub fn run(module: &Module, execute: &WastExecute) -> Result<Function> {
    Ok(run_action(&action(module, execute)?))
}

/// The same for an `invoke`.
pub fn run_invoke(module: &Module, invoke: &WastInvoke) -> Result<Function> {
    Ok(run_action(&invocation(module, invoke)?))
}

/// A function `() -> i32` that calls a start function and returns 1.
pub fn run_start(start: u32) -> Function {
    run_action(&Action { instructions: vec![I::Call(start)], results: Vec::new() })
}

fn run_action(action: &Action) -> Function {
    let mut body = Function::new([]);
    emit(&mut body, &action.instructions);
    for _ in &action.results {
        body.instruction(&I::Drop);
    }
    body.instruction(&I::I32Const(1));
    body.instruction(&I::End);
    body
}

fn emit(body: &mut Function, instructions: &[I<'static>]) {
    for instruction in instructions {
        body.instruction(instruction);
    }
}

fn action(module: &Module, execute: &WastExecute) -> Result<Action> {
    match execute {
        WastExecute::Invoke(invoke) => invocation(module, invoke),
        WastExecute::Get { global, .. } => {
            let index = export(module, global, ExternalKind::Global)?;
            let global = module.globals.get(index as usize).context("global index")?;
            let result = RoundtripReencoder.val_type(global.content_type)?;
            Ok(Action { instructions: vec![I::GlobalGet(index)], results: vec![result] })
        }
        WastExecute::Wat(_) => bail!("a module as an action"),
    }
}

fn invocation(module: &Module, invoke: &WastInvoke) -> Result<Action> {
    let index = export(module, invoke.name, ExternalKind::Func)?;
    let mut instructions = Vec::new();
    for argument in &invoke.args {
        instructions.push(constant(argument)?);
    }
    instructions.push(I::Call(index));
    let results: Result<_, _> = module
        .function_type(index)?
        .results()
        .iter()
        .map(|result| RoundtripReencoder.val_type(*result))
        .collect();
    Ok(Action { instructions, results: results? })
}

fn export(module: &Module, name: &str, kind: ExternalKind) -> Result<u32> {
    match module.exports.get(name) {
        Some((found, index)) if *found == kind => Ok(*index),
        _ => bail!("a command that names no export"),
    }
}

fn constant(argument: &WastArg) -> Result<I<'static>> {
    let WastArg::Core(argument) = argument else {
        bail!("values of components");
    };
    Ok(match argument {
        WastArgCore::I32(value) => I::I32Const(*value),
        WastArgCore::I64(value) => I::I64Const(*value),
        WastArgCore::F32(value) => I::F32Const(f32::from_bits(value.bits).into()),
        WastArgCore::F64(value) => I::F64Const(f64::from_bits(value.bits).into()),
        WastArgCore::V128(value) => I::V128Const(i128::from_le_bytes(value.to_le_bytes())),
        WastArgCore::RefNull(heap) => I::RefNull(heap_type(heap)?),
        WastArgCore::RefExtern(_) | WastArgCore::RefHost(_) => bail!("references to host values"),
    })
}

fn heap_type(heap: &wast::core::HeapType) -> Result<HeapType> {
    use wast::core::{AbstractHeapType, HeapType::Abstract};
    match heap {
        Abstract { shared: false, ty: AbstractHeapType::Func } => Ok(HeapType::FUNC),
        Abstract { shared: false, ty: AbstractHeapType::Extern } => Ok(HeapType::EXTERN),
        _ => bail!("types of the garbage collection proposal"),
    }
}

fn core_result<'a, 'b>(result: &'a WastRet<'b>) -> Result<&'a WastRetCore<'b>> {
    match result {
        WastRet::Core(result) => Ok(result),
        _ => bail!("values of components"),
    }
}

/// Instructions that push 1 if a local holds what is expected, bit by bit, and else 0.
fn comparison(expected: &WastRetCore, local: u32) -> Result<Vec<I<'static>>> {
    let get = I::LocalGet(local);
    Ok(match expected {
        WastRetCore::I32(value) => vec![get, I::I32Const(*value), I::I32Eq],
        WastRetCore::I64(value) => vec![get, I::I64Const(*value), I::I64Eq],
        WastRetCore::F32(pattern) => {
            [vec![get, I::I32ReinterpretF32], matches_f32(pattern)].concat()
        }
        WastRetCore::F64(pattern) => {
            [vec![get, I::I64ReinterpretF64], matches_f64(pattern)].concat()
        }
        WastRetCore::V128(pattern) => compare_vector(pattern, local),
        WastRetCore::RefNull(_) => vec![get, I::RefIsNull],
        WastRetCore::RefFunc(None) | WastRetCore::RefExtern(None) => {
            vec![get, I::RefIsNull, I::I32Eqz]
        }
        WastRetCore::Either(alternatives) => any_of(alternatives, local)?,
        _ => bail!("references to host values"),
    })
}

fn any_of(alternatives: &[WastRetCore], local: u32) -> Result<Vec<I<'static>>> {
    let mut instructions = vec![I::I32Const(0)];
    for alternative in alternatives {
        instructions.extend(comparison(alternative, local)?);
        instructions.push(I::I32Or);
    }
    Ok(instructions)
}

/// Compares the i32 on the stack. A NaN pattern asks for the quiet bit, and where it is canonical
/// for nothing else of the payload; the sign is free.
///
/// Spec: <https://webassembly.github.io/spec/core/syntax/values.html#floating-point>
fn matches_f32(pattern: &NanPattern<F32>) -> Vec<I<'static>> {
    match pattern {
        NanPattern::Value(value) => vec![I::I32Const(value.bits.cast_signed()), I::I32Eq],
        NanPattern::CanonicalNan => masked_i32(0x7fff_ffff),
        NanPattern::ArithmeticNan => masked_i32(0x7fc0_0000),
    }
}

fn masked_i32(mask: i32) -> Vec<I<'static>> {
    vec![I::I32Const(mask), I::I32And, I::I32Const(0x7fc0_0000), I::I32Eq]
}

fn matches_f64(pattern: &NanPattern<F64>) -> Vec<I<'static>> {
    match pattern {
        NanPattern::Value(value) => vec![I::I64Const(value.bits.cast_signed()), I::I64Eq],
        NanPattern::CanonicalNan => masked_i64(0x7fff_ffff_ffff_ffff),
        NanPattern::ArithmeticNan => masked_i64(0x7ff8_0000_0000_0000),
    }
}

fn masked_i64(mask: i64) -> Vec<I<'static>> {
    vec![I::I64Const(mask), I::I64And, I::I64Const(0x7ff8_0000_0000_0000), I::I64Eq]
}

fn compare_vector(pattern: &V128Pattern, local: u32) -> Vec<I<'static>> {
    let mut instructions = vec![I::I32Const(1)];
    let mut add = |extract: I<'static>, test: Vec<I<'static>>| {
        instructions.extend([I::LocalGet(local), extract]);
        instructions.extend(test);
        instructions.push(I::I32And);
    };
    match pattern {
        V128Pattern::F32x4(lanes) => {
            for (lane, value) in (0..).zip(lanes) {
                add(I::I32x4ExtractLane(lane), matches_f32(value));
            }
        }
        V128Pattern::F64x2(lanes) => {
            for (lane, value) in (0..).zip(lanes) {
                add(I::I64x2ExtractLane(lane), matches_f64(value));
            }
        }
        V128Pattern::I8x16(lanes) => halves(lanes, i8::to_le_bytes, &mut add),
        V128Pattern::I16x8(lanes) => halves(lanes, i16::to_le_bytes, &mut add),
        V128Pattern::I32x4(lanes) => halves(lanes, i32::to_le_bytes, &mut add),
        V128Pattern::I64x2(lanes) => halves(lanes, i64::to_le_bytes, &mut add),
    }
    instructions
}

/// Integer lanes are compared as two i64.
fn halves<T: Copy, const N: usize>(
    lanes: &[T],
    to_bytes: fn(T) -> [u8; N],
    add: &mut impl FnMut(I<'static>, Vec<I<'static>>),
) {
    let bytes: Vec<u8> = lanes.iter().flat_map(|lane| to_bytes(*lane)).collect();
    for (lane, half) in (0..).zip(bytes.chunks_exact(8)) {
        let value = half.iter().rev().fold(0, |value, byte| value << 8 | i64::from(*byte));
        add(I::I64x2ExtractLane(lane), vec![I::I64Const(value), I::I64Eq]);
    }
}
