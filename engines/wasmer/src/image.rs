//! Serialized programs: Wasmer's own image behind a line that says what it is for.
//!
//! Wasmer checks less than is needed for a clear error: not its own version to the last digit, and
//! not the compiler. The line is text: `iree-wasm-hal-wasmer 1;7.4.2;cranelift;x86_64-...;avx avx2;1234`,
//! with the byte length of what follows it.

use crate::engine::{Engine, WASMER_VERSION};
use crate::failure::{Failure, Kind};

const MAGIC: &str = "iree-wasm-hal-wasmer 1";
const MAX_LINE_BYTE_LENGTH: usize = 1024;

/// Puts the line in front of Wasmer's image.
pub fn wrap(engine: &Engine, body: &[u8]) -> Vec<u8> {
    let fields = [
        MAGIC,
        WASMER_VERSION,
        engine.compiler.name(),
        &engine.target.triple().to_string(),
        &engine.cpu_features().join(" "),
        &body.len().to_string(),
    ];
    let mut image = fields.join(";").into_bytes();
    image.push(b'\n');
    image.extend_from_slice(body);
    image
}

/// Checks the line; gives Wasmer's image.
pub fn unwrap<'a>(engine: &Engine, image: &'a [u8]) -> Result<&'a [u8], Failure> {
    let not_ours = || refuse(format!("it does not begin with {MAGIC:?}"));
    let line_end = image
        .iter()
        .take(MAX_LINE_BYTE_LENGTH)
        .position(|&byte| byte == b'\n')
        .ok_or_else(not_ours)?;
    let line = std::str::from_utf8(&image[..line_end]).map_err(|_| not_ours())?;
    let fields: Vec<&str> = line.split(';').collect();
    let [magic, version, compiler, triple, cpu_features, byte_length] = fields[..] else {
        return Err(not_ours());
    };
    if magic != MAGIC {
        return Err(not_ours());
    }
    let same = |what: &str, theirs: &str, ours: &str| match theirs == ours {
        true => Ok(()),
        false => Err(refuse(format!("it is for {what} {theirs}, this is {ours}"))),
    };
    same("Wasmer", version, WASMER_VERSION)?;
    same("compiler", compiler, engine.compiler.name())?;
    same("the platform", triple, &engine.target.triple().to_string())?;
    let here = engine.cpu_features();
    let missing: Vec<&str> = cpu_features
        .split_whitespace()
        .filter(|name| !here.iter().any(|ours| ours == name))
        .collect();
    if !missing.is_empty() {
        return Err(refuse(format!("this CPU lacks {}", missing.join(", "))));
    }
    let body = &image[line_end + 1..];
    if byte_length != body.len().to_string() {
        return Err(refuse(format!(
            "it should hold {byte_length} bytes of code and holds {}",
            body.len()
        )));
    }
    Ok(body)
}

fn refuse(reason: String) -> Failure {
    Failure::new(Kind::Compile, reason)
}
