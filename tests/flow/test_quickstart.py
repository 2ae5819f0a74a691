"""The main job and the README: every command and every line of Python a newcomer would copy."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, run, spawn
from conftest import ROOT

from reward_model.records import read_pairs

pytestmark = pytest.mark.slow
README = (ROOT / "README.md").read_text("utf-8")
SMALL = ("--pairs", 24, "--fields", "制造业,科技业")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Outcome]]:
    """A small quickstart in an empty folder."""
    folder = tmp_path_factory.mktemp("newcomer")
    child = spawn("reward-model", "quickstart", *SMALL, cwd=folder)
    out, err = child.communicate(timeout=500)
    yield folder, Outcome(child.returncode, out, err)
    shutil.rmtree(folder)


def results(folder: Path) -> dict[str, bytes]:
    """What has to be the same whenever the same command runs; figures only, no clock."""
    names = ("pairs.jsonl", "scored.jsonl", "fresh_scored.jsonl", "evaluation.json")
    return {name: (folder / "outputs" / "quickstart" / name).read_bytes() for name in names}


def test_it_runs_and_ends_in_what_a_person_understands(done: tuple[Path, Outcome]) -> None:
    folder, outcome = done
    assert outcome.code == 0, outcome.stderr
    for command in ("datagen pairs", "judge score", "judge validate"):
        assert f"$ {command}" in outcome.stderr
    for command in ("train", "calibrate", "evaluate", "score"):
        assert f"$ reward-model {command}" in outcome.stderr
    for words in ("Two fresh reports", "Held out", "never seen", "TF-IDF", "reward (0–1)"):
        assert words in outcome.stderr
    home = folder / "outputs" / "quickstart"
    for name in ("validation.html", "evaluation.html", "model/best/model.safetensors"):
        assert str(Path("outputs/quickstart") / name).removesuffix("/model.safetensors") in (
            outcome.stderr
        )
        assert (home / name).exists()
    assert len(list(read_pairs(home / "scored.jsonl"))) == 24


def test_held_out_companies_are_in_no_training_text(done: tuple[Path, Outcome]) -> None:
    home = done[0] / "outputs" / "quickstart"
    split = json.loads((home / "model" / "split.json").read_text())["groups"]
    train, test = set(split["train"]), set(split["test"])
    assert test
    assert not train & test
    assert not train & set(split["validation"])
    fresh = {pair.group for pair in read_pairs(home / "fresh_pairs.jsonl")}
    assert not fresh & {pair.group for pair in read_pairs(home / "scored.jsonl")}


def test_again_it_repeats_only_what_is_gone_and_says_the_same(done: tuple[Path, Outcome]) -> None:
    folder, first = done
    before, home = results(folder), folder / "outputs" / "quickstart"
    gone = home / "fresh_scored.jsonl"
    gone.unlink()
    written = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    child = spawn("reward-model", "quickstart", *SMALL, cwd=folder)
    _, err = child.communicate(timeout=500)
    assert child.returncode == 0, err
    assert results(folder) == before
    assert err.count("finished before, and its files are as it left them") == 7
    again = [path.name for path, when in written.items() if path.stat().st_mtime_ns != when]
    assert set(again) <= {"quickstart.json", "fresh_scored.jsonl.config.json"}
    tail = "What came out"
    strip = re.compile(r"done in \d+ s")
    assert strip.sub("", err.split(tail)[1]) == strip.sub("", first.stderr.split(tail)[1])
    child = spawn("reward-model", "quickstart", *SMALL, "--seed", 1, cwd=folder)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 2
    assert "seed 0" in err


def test_interrupted_anywhere_it_goes_on_to_the_same_numbers(
    done: tuple[Path, Outcome], tmp_path: Path
) -> None:
    for wait in (2.0, 5.0, 9.0, 16.0):
        child = subprocess.Popen(
            [sys.executable, "-m", "reward_model", "quickstart", *map(str, SMALL)],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        time.sleep(wait)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
        _, err = child.communicate(timeout=60)
        assert "Traceback" not in err, err
        assert child.returncode in (0, 3), err
        left = list((tmp_path / "outputs").rglob(".*")) if (tmp_path / "outputs").exists() else []
        assert not left, "a temporary file was left behind"
    child = spawn("reward-model", "quickstart", *SMALL, cwd=tmp_path)
    _, err = child.communicate(timeout=500)
    assert child.returncode == 0, err
    assert results(tmp_path) == results(done[0])


@pytest.mark.parametrize("wait", [0.0, 0.01, 0.02, 0.04])
def test_interrupted_while_a_step_starts_it_says_so_without_a_traceback(
    tmp_path: Path, wait: float
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "reward_model", "quickstart", *map(str, SMALL)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stderr is not None
    assert "$ datagen pairs" in next(line for line in child.stderr if line.startswith("$"))
    time.sleep(wait)
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert "Traceback" not in err, err
    assert child.returncode == 3, err


def test_the_commands_of_the_readme_run(
    done: tuple[Path, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(done[0])
    lines = [line for block in blocks("bash") for line in block.splitlines() if line]
    assert len(lines) >= 5
    for line in lines:
        words = line.removeprefix("uv run ").split()
        outcome = run(words[0], *words[1:])
        # A validator that found problems has done its work.
        assert outcome.code == 0 or (words[1] == "validate" and outcome.code == 1), outcome.stderr


def test_the_python_of_the_readme_runs(
    done: tuple[Path, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(done[0])
    names: dict[str, Any] = {}
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), names)
    assert [one.__name__ for one in names["reward_funcs"]] == list(names["scorer"].dimensions)
    score = names["p"]
    assert 0 <= score.reward <= 1
    assert sum(score.probabilities["depth"]) == pytest.approx(1)


def test_the_python_of_the_record_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "records.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    exec(compile(code, "records.md", "exec"), {})


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
