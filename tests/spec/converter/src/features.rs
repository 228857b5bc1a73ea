//! Which features of the engine contract a module needs, found by taking them away one by one.

use wasmparser::{BinaryReader, CodeSectionReader, Operator, Validator, WasmFeatures};

use crate::binary::{Module, section};

/// Names as in `iree_wasm_hal.engine.Feature`; the runner finds out those that are not there.
const FEATURES: &[(&str, WasmFeatures)] = &[
    // The contract means filling and copying of memories by it, as compilers do.
    ("bulk-memory", WasmFeatures::BULK_MEMORY_OPT),
    ("passive-segments", WasmFeatures::BULK_MEMORY.difference(WasmFeatures::BULK_MEMORY_OPT)),
    ("sign-ext", WasmFeatures::SIGN_EXTENSION),
    ("nontrapping-fptoint", WasmFeatures::SATURATING_FLOAT_TO_INT),
    ("multivalue", WasmFeatures::MULTI_VALUE),
    ("reference-types", WasmFeatures::REFERENCE_TYPES),
    ("simd128", WasmFeatures::SIMD),
    ("atomics", WasmFeatures::THREADS),
    ("memory64", WasmFeatures::MEMORY64),
    ("tail-call", WasmFeatures::TAIL_CALL),
    ("exception-handling", WasmFeatures::EXCEPTIONS),
    ("extended-const", WasmFeatures::EXTENDED_CONST),
];

const BASE: WasmFeatures =
    WasmFeatures::MUTABLE_GLOBAL.union(WasmFeatures::FLOATS).union(WasmFeatures::GC_TYPES);

/// Whether a module is valid with all that any version or proposal has added.
pub fn is_valid_anywhere(wasm: &[u8]) -> bool {
    is_valid(wasm, WasmFeatures::all())
}

/// The features that a module needs; None where it needs one that the contract does not know.
pub fn needed(wasm: &[u8]) -> Option<Vec<&'static str>> {
    let known = FEATURES
        .iter()
        .fold(BASE.union(WasmFeatures::RELAXED_SIMD), |all, (_, one)| all.union(*one));
    if !is_valid(wasm, known) {
        return None;
    }
    let mut needed: Vec<&str> = FEATURES
        .iter()
        .filter(|(_, feature)| !is_valid(wasm, known.difference(*feature)))
        .map(|(name, _)| *name)
        .collect();
    if !is_valid(wasm, known.difference(WasmFeatures::RELAXED_SIMD)) {
        needed.extend(relaxed_parts(wasm));
    }
    let module = Module::parse(wasm).ok()?;
    if module.memories.iter().any(|memory| memory.shared) {
        needed.push("shared-memory");
    }
    Some(needed)
}

fn is_valid(wasm: &[u8], features: WasmFeatures) -> bool {
    Validator::new_with_features(features).validate_all(wasm).is_ok()
}

/// Relaxed SIMD is three features in the contract, since engines implement it in parts.
fn relaxed_parts(wasm: &[u8]) -> Vec<&'static str> {
    let mut parts = Vec::new();
    let Some(code) = Module::parse(wasm).ok().and_then(|module| module.reader(section::CODE))
    else {
        return parts;
    };
    for part in operators(code).iter().filter_map(relaxed_part) {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts
}

fn operators(code: BinaryReader) -> Vec<Operator> {
    CodeSectionReader::new(code)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|body| body.get_operators_reader().ok())
        .flat_map(|reader| reader.into_iter().flatten())
        .collect()
}

fn relaxed_part(operator: &Operator) -> Option<&'static str> {
    let name = format!("{operator:?}");
    if !name.contains("Relaxed") {
        None
    } else if name.contains("Madd") || name.contains("Nmadd") {
        Some("relaxed-madd")
    } else if name.contains("Dot") {
        Some("relaxed-dot")
    } else {
        Some("relaxed-simd")
    }
}
