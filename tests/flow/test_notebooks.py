"""The notebooks of docs/notebooks run as they are, in this process; they hold no outputs."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from commands import run
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.stem == "use_in_grpo":
        pytest.importorskip("trl", minversion="1.13")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known: dict[str, object] = {}
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert (cell["outputs"], cell["execution_count"]) == ([], None), "strip its outputs"
        lines = "".join(cell["source"]).splitlines()
        if commands := [line[1:] for line in lines if line.startswith("!")]:
            assert len(commands) == len(lines)
            for command in commands:
                done = run(*shlex.split(command))
                assert done.code in (0, 1), done.stderr  # 1: few texts are said to be few
        else:
            exec(compile("\n".join(lines), f"{path.name} {cell['id']}", "exec"), known)


def test_every_kind_of_user_has_one() -> None:
    assert len(NOTEBOOKS) == 3
    pages = "".join((ROOT / "docs" / name).read_text("utf-8") for name in os.listdir(ROOT / "docs")
                    if name.endswith(".md"))  # fmt: skip
    assert all(f"notebooks/{path.name}" in pages for path in NOTEBOOKS)
