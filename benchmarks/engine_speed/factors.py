"""The factors of every matrix product here, and their product."""

from __future__ import annotations

import numpy as np

__all__ = ["FLOP", "SIZE", "Factors"]

SIZE = 512
FLOP = 2 * SIZE**3


class Factors:
    """Two square matrices of small whole numbers: sums are exact in every order.

    numpy multiplies them as integers. Of floats its BLAS would, whose threads go on spinning for a
    while, which counts as CPU time of whatever comes next.
    """

    def __init__(self) -> None:
        random = np.random.default_rng(7)
        left, right = random.integers(-8, 9, (2, SIZE, SIZE))
        self.left, self.right = left.astype(np.float32), right.astype(np.float32)
        self.product = (left @ right).astype(np.float32)
