"""The picture with text that the OCR demo reads, drawn with Pillow's own font."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import numpy.typing as npt

__all__ = ["LINES", "as_bgr", "draw", "save_annotated"]

LINES = (
    "WebAssembly kernels",
    "read this picture",
    "on any CPU, 2026",
    "inside a sandbox",
    "pi = 3.14159265",
)
"""Text drawn, from top to bottom."""

SIDE = 736
"""Width and height in pixels: the smallest side that the text detector does not enlarge."""


def draw() -> Image.Image:
    """Lines of dark text on a light gradient."""
    ramp = np.linspace(255, 215, SIDE, dtype=np.float32)
    background = np.repeat(ramp[:, None], SIDE, axis=1).astype(np.uint8)
    image = Image.fromarray(background).convert("RGB")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=52)
    for index, line in enumerate(LINES):
        pen.text(
            (48 + 12 * index, 56 + 130 * index), line, fill=(24, 24 + 30 * index, 96), font=font
        )
    return image


def save_annotated(image: Image.Image, results: list[list[Any]], path: Path) -> None:
    """Writes the picture with a frame around each text found and what was read above it."""
    annotated = image.copy()
    pen = ImageDraw.Draw(annotated)
    font = ImageFont.load_default(size=20)
    for box, text, score in results:
        corners = [(float(x), float(y)) for x, y in box]
        pen.polygon(corners, outline=(200, 0, 0), width=2)
        pen.text((corners[0][0], corners[0][1] - 26), f"{text} ({score:.2f})", (200, 0, 0), font)
    annotated.save(path)


def as_bgr(image: Image.Image) -> npt.NDArray[np.uint8]:
    """The pixels in the channel order that the OCR package takes."""
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
