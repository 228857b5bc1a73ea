"""From a compiler's log to its cause, in one screen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["explain"]

_MAX_CAUSES = 3
_MAX_LINE_LENGTH = 300

_ERROR = re.compile(
    r"^(?P<where>[^\s:]\S*:\d+:\d+: |<\w+>:\d+:\d+: |iree-\w+: |wasm-ld: |loc\(.*?\): )?"
    r"error: (?P<what>.*)"
)
_UNDEFINED_SYMBOL = re.compile(r"undefined symbol: (\S+)")
_PYTHON_ERROR = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Failure)): (.*)")

# Messages that follow from another one in the same log, and never are the cause.
_CONSEQUENCES = (
    "failed to translate executables",
    "failed to run translation of source executable",
    "failed to serialize executables",
    "failed to serialize executable for target backend",
    "failed to link executable and generate target dylib",
    "conversion to",
)

_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"failed to legalize operation 'torch\.operator'.*\"onnx\.If\"",
        "the compiler takes an ONNX If in simple forms only; give the inputs that decide it: "
        "shapes with input_shapes (--input-shape), values with input_values (--input-value)",
    ),
    (
        r"failed to legalize operation 'torch\.operator'.*\"onnx\.(\w+)\"",
        "the ONNX operator {0} in this form is not supported by the compiler",
    ),
    (
        r"failed to legalize operation 'torch\.(?:onnx|operator)",
        "the compiler has no lowering for this ONNX operator in this form; if a shape is "
        "dynamic, give it with input_shapes (--input-shape name=1x3x224x224)",
    ),
    (
        r"dynamic|unranked|!torch\.vtensor<\[[^\]]*\?",
        "a shape may be unknown to the compiler: give the inputs' shapes with input_shapes "
        "(--input-shape name=1x3x224x224)",
    ),
    (r"Cannot select: .*bf16", "LLVM cannot compile this bf16 operation for wasm; use f32 there"),
    (
        r"undefined symbol",
        "the support library lacks this function; please report it with the model",
    ),
    (
        r"[Uu]nsupported (?:operator|op|opset).*version|version_conversion|No Adapter",
        "try another opset (--opset N)",
    ),
    (r"unknown target triple|unknown.*feature", "check the target and the extra flags"),
    (r"Unknown command line argument", "this flag does not exist in the installed iree-compile"),
)


def _shorten(line: str) -> str:
    return line if len(line) <= _MAX_LINE_LENGTH else line[:_MAX_LINE_LENGTH] + " ..."


def _causes(log: str) -> list[str]:
    symbols = sorted(set(_UNDEFINED_SYMBOL.findall(log)))
    if symbols:
        return [f"linking failed: undefined symbol{'s' * (len(symbols) > 1)}: {', '.join(symbols)}"]
    found: list[str] = []
    for line in log.splitlines():
        match = _ERROR.match(line)
        if match and not match["what"].startswith(_CONSEQUENCES):
            found.append(f"{match['where'] or ''}error: {match['what']}")
        elif line.startswith(("LLVM ERROR:", "Assertion", "iree-compile: Unknown")):
            found.append(line)
        elif python_error := _PYTHON_ERROR.match(line):
            found.append(f"{python_error[1]}: {python_error[2]}")
    return list(dict.fromkeys(found))


def explain(log: str, exit_status: int) -> str:
    """The first causes in a log, each on its line, and a hint where we know one."""
    causes = _causes(log)
    if not causes:
        ended = f"signal {-exit_status}" if exit_status < 0 else f"exit status {exit_status}"
        tail = [line for line in log.splitlines() if line.strip()][-4:-1]
        causes = [f"the compiler ended with {ended} and named no cause", *tail]
    shown = [_shorten(cause) for cause in causes[:_MAX_CAUSES]]
    if len(causes) > _MAX_CAUSES:
        shown.append(f"... and {len(causes) - _MAX_CAUSES} more")
    for pattern, hint in _HINTS:
        match = re.search(pattern, "\n".join(causes))
        if match:
            shown.append("hint: " + hint.format(*match.groups()))
            break
    return "\n  ".join(shown)


def read_log(path: Path, byte_offset: int) -> str:
    """A log from an offset on, as text; the compiler may print any bytes of a model."""
    return path.read_bytes()[byte_offset:].decode("utf-8", errors="replace")
