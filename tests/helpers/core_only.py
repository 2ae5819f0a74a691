"""The package as `pip install multidim-reward` leaves it, without any extra: what has to work does,
and what needs an extra says which. Run by `.ci/package` with the Python of such an environment.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

from commands import Outcome, run

DATA = [
    "datagen pairs --pairs 4 --out pairs.jsonl",
    "judge score pairs.jsonl --out scored.jsonl",
    "judge validate scored.jsonl kept.jsonl --html validation.html",
    "reward-model labels scored.jsonl",
    "reward-model --version",
    "datagen --version",
    "judge --version",
]
EXTRAS = {
    "reward-model train scored.jsonl --output-dir out --base-model tiny --lora-rank 4": "lora",
    "reward-model train scored.jsonl --output-dir out --base-model tiny --lora-rank 4 "
    "--load-in-4bit": "qlora",
    "reward-model train scored.jsonl --output-dir out --base-model tiny "
    "--config adam.toml": "qlora",
    "reward-model serve best": "serve",
    "reward-model policy train scored.jsonl --base-model out/best --output-dir out": "rlhf",
}


def main() -> None:
    """Walk through both lists in an empty folder."""
    assert importlib.util.find_spec("peft") is None, "an environment with extras"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("best").mkdir()
        Path("adam.toml").write_text('optimizer = "adamw_8bit"\n', "utf-8")
        for line in DATA:
            done = _run(line)
            assert done.code in (0, 1), (line, done)
        for line, extra in EXTRAS.items():
            done = _run(line)
            assert done.code == 2, (line, done)
            assert f"multidim-reward[{extra}]" in done.stderr, (line, done)
            assert not Path("out").exists(), line
    sys.stderr.write(f"core only: {len(DATA)} commands work, {len(EXTRAS)} name their extra\n")


def _run(line: str) -> Outcome:
    return run(*line.split())


if __name__ == "__main__":
    main()
