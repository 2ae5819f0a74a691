"""The examples of docs/examples run as they are, and their policies learn."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", minversion="1.15")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_the_reward_rises(name: str, tmp_path: Path) -> None:
    before, after = importlib.import_module(name).main(tmp_path)
    sys.stdout.write(f"mean reward before {before:.3f}, after {after:.3f}\n")
    assert after > before + 0.2
