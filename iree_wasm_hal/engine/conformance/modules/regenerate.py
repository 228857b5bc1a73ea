"""Assembles every ``.wat`` of this folder into the ``.wasm`` beside it (needs wasmtime-py)."""

from pathlib import Path

from wasmtime import wat2wasm

for source in sorted(Path(__file__).parent.glob("*.wat")):
    source.with_suffix(".wasm").write_bytes(bytes(wat2wasm(source.read_text())))
