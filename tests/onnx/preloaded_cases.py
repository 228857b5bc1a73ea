"""Imported once by the fork server, so that the processes it forks find the tests loaded."""

from __future__ import annotations

import case_runner  # noqa: F401  # and with it both runtimes
from node_cases import load_cases

load_cases()
