"""Magika's way from bytes to model input and from model output to a label.

The rules are those of the PyPI package ``magika`` for its model ``standard_v3_3``: the first and
the last 1024 bytes of a file's first and last 4096, white space stripped, padded with token 256.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from model_files import package_file

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["MODEL_PATH", "MagikaConfig", "Verdict"]

MODEL_PATH = "models/standard_v3_3/model.onnx"


@dataclass(frozen=True)
class Verdict:
    """A label as magika reports it, and the model's score for its own."""

    label: str
    score: float


@dataclass(frozen=True)
class MagikaConfig:
    """Sizes, labels and thresholds of the model."""

    begin_size: int
    end_size: int
    block_size: int
    padding_token: int
    min_file_size: int
    labels: tuple[str, ...]
    thresholds: dict[str, float]
    default_threshold: float
    replaced_labels: dict[str, str]
    text_labels: frozenset[str]

    @classmethod
    def load(cls) -> MagikaConfig:
        """Reads the installed package's configuration."""
        config = json.loads(
            package_file("magika", "models/standard_v3_3/config.min.json").read_text()
        )
        types = json.loads(package_file("magika", "config/content_types_kb.min.json").read_text())
        return cls(
            begin_size=config["beg_size"],
            end_size=config["end_size"],
            block_size=config["block_size"],
            padding_token=config["padding_token"],
            min_file_size=config["min_file_size_for_dl"],
            labels=tuple(config["target_labels_space"]),
            thresholds=config["thresholds"],
            default_threshold=config["medium_confidence_threshold"],
            replaced_labels=config["overwrite_map"],
            text_labels=frozenset(name for name, entry in types.items() if entry["is_text"]),
        )

    def features(self, path: Path) -> npt.NDArray[np.int32] | None:
        """The model's input for a file, shape (1, 2048).

        Returns:
            ``None`` for a file with too few bytes to tell.
        """
        with path.open("rb") as file:
            begin = file.read(self.block_size).lstrip()
            size = file.seek(0, 2)
            file.seek(max(0, size - self.block_size))
            end = file.read(self.block_size).rstrip()
        if size < self.min_file_size or len(begin) < self.min_file_size:
            return None
        tokens = np.full((1, self.begin_size + self.end_size), self.padding_token, np.int32)
        begin, end = begin[: self.begin_size], end[-self.end_size :]
        tokens[0, : len(begin)] = np.frombuffer(begin, np.uint8)
        tokens[0, tokens.shape[1] - len(end) :] = np.frombuffer(end, np.uint8)
        return tokens

    def verdict(self, scores: npt.NDArray[np.float32]) -> Verdict:
        """The label for the model's output, shape (1, labels), in its high-confidence mode."""
        index = int(scores[0].argmax())
        label, score = self.labels[index], float(scores[0, index])
        reported = self.replaced_labels.get(label, label)
        if score < self.thresholds.get(label, self.default_threshold):
            reported = "txt" if reported in self.text_labels else "unknown"
        return Verdict(reported, score)
