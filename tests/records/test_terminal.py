"""What a data set holds is shown on the terminal and never obeyed by it."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from commands import run
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from scored_sets import scored_set, write

from reward_model.records import terminal, write_result
from reward_model.records.terminal import console, plain, table

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\x08"


def evil_set(path: Path) -> Path:
    rows = scored_set(groups=6)
    for number, row in enumerate(rows):
        row["id"] = f"p{number}{EVIL}"
        row["prompt"] += EVIL
        for side in ("chosen", "rejected"):
            row[side] = EVIL + row[side] + EVIL
            row["scores"]["reasoning"][side]["depth"] = EVIL
        meta = row["metadata"]
        meta["company"] = meta["prompt_id"] = meta["company"] + EVIL
        meta["language"] = "zh" + EVIL
        meta["gold_metadata"]["model"] = "alpha:writer" + EVIL
        meta["defect_metadata"]["model"] = "alpha:writer" + EVIL
        if meta["defect_metadata"].get("degradation_type"):
            meta["defect_metadata"]["degradation_type"] += EVIL
        row["scores"]["judge"]["model"] = "beta:judge" + EVIL
    return write(path, rows)


@pytest.mark.parametrize(
    "words",
    [
        ("judge", "validate", "{data}"),
        ("judge", "agree", "{data}", "{data}"),
        ("judge", "redteam", "{data}", "--max-reports", "2"),
        ("judge", "score", "{data}", "--overwrite-scores", "--out", "{new}"),
        ("judge", "export-review", "{data}", "--out", "{new}"),
        ("reward-model", "labels", "{data}"),
        ("reward-model", "labels", "{data}", "--json", "-"),
        ("reward-model", "doctor", "{data}"),
        ("reward-model", "prefer", "{data}", "--out", "{new}"),
        ("reward-model", "prefer", "{broken}", "--out", "{new}"),
        ("judge", "validate", "{broken}"),
        ("reward-model", "train", "{broken}", "--base-model", "tiny", "--output-dir", "{new}"),
    ],
    ids=" ".join,
)
def test_no_command_lets_a_data_set_speak_to_the_terminal(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    data, broken = evil_set(tmp_path / "data.jsonl"), tmp_path / "broken.jsonl"
    row = {"chosen": "a", "rejected": "b", f"key{EVIL}": 1, "scores": {EVIL: EVIL}}
    write(broken, [row])
    names = {"data": data, "broken": broken, "new": tmp_path / "new"}
    done = run(words[0], *(word.format(**names) for word in words[1:]))
    assert done.stderr
    for said in (done.stdout, done.stderr):
        assert [c for c in said if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)] == []


@given(st.text())
def test_only_what_a_terminal_obeys_is_taken_out(text: str) -> None:
    assert plain(text).isprintable() or any(c in "\n\t" or not c.isprintable() for c in text)
    assert [c for c in plain(text) if ord(c) < 32 and c not in "\t\n"] == []
    assert plain("涨 12%\n\t–é") == "涨 12%\n\t–é"


def test_colours_of_our_own_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real terminal: styles are sent, those of the text are not."""
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        console().print("[bold red]error:[/] a\x1b[32mb")
        stream.flush()
        said = os.read(outer, 1000).decode()
    os.close(outer)
    assert "\x1b[1;31merror:\x1b[0m" in said
    assert "a[32mb" in said
    assert "\x1b[32m" not in said


def test_json_on_stdout_escapes_both_halves(capsys: pytest.CaptureFixture[str]) -> None:
    write_result({"a": EVIL, "b": "万"}, "-")
    said = capsys.readouterr().out
    assert said.isprintable() or said.removesuffix("\n").isprintable()
    assert json.loads(said) == {"a": EVIL, "b": "万"}


def test_names_give_way_to_figures_on_a_narrow_screen() -> None:
    from rich.console import Console

    told = table("held out", "", "model [95%]", "majority", "length", "TF-IDF")
    told.add_row("pair accuracy, professionalism", "0.895 [0.65, 0.98]", "0.000", "0.474", "0.895")
    screen = Console(width=64, record=True, file=io.StringIO())
    screen.print(told)
    said = screen.export_text()
    assert "0.895 [0.65, 0.98]" in said
    assert "…" not in said


def test_ctrl_c_while_a_module_makes_a_class_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    class Hit:
        def __set_name__(self, owner: type, name: str) -> None:
            raise KeyboardInterrupt

    app.command()(lambda: type("Model", (), {"field": Hit()}))
    monkeypatch.setattr(sys, "argv", ["program"])
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(SystemExit) as left:
            terminal.run(app)
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
    assert left.value.code == 3
    assert "run the same command to go on" in capsys.readouterr().err


def test_ctrl_c_in_the_callback_of_a_weak_reference_is_not_lost() -> None:
    code = """
import time, weakref, typer
from reward_model.records.terminal import run

class Thing: pass

def raised(_):
    raise KeyboardInterrupt

app = typer.Typer()

@app.command()
def wait():
    thing = Thing()
    kept = weakref.ref(thing, raised)
    del thing
    time.sleep(20)

run(app)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "interrupted" in done.stderr


@pytest.mark.parametrize("which", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("busy", [False, True])
def test_ctrl_c_while_a_module_loads_is_not_taken_for_a_module_that_lacks(
    tmp_path: Path, which: str, busy: bool
) -> None:
    """As numpy and transformers do, which try to import what need not be there."""
    (tmp_path / "slow.py").write_text(
        """
import time
try:
    print("loading", flush=True)
    time.sleep(2)
except BaseException as error:
    print("hit", flush=True)
"""
    )
    code = f"""
import threading, time, typer
from reward_model.records.terminal import run

app = typer.Typer()

@app.command()
def work():
    if {busy}:
        threading.Thread(target=time.sleep, args=(4,), daemon=True).start()
    import slow
    time.sleep(20)

run(app)
"""
    started = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "loading\n"
    started.send_signal(getattr(signal, which))
    out, err = started.communicate(timeout=15)
    assert started.returncode == 3, err
    assert "hit" not in out
    assert err.strip() == "interrupted; what was finished is saved: run the same command to go on"


def test_a_reader_that_stops_reading_costs_no_file(tmp_path: Path) -> None:
    """`command 2>&1 | head -1`: the words go nowhere, the work is done."""
    gone, pipe = os.pipe()
    os.close(gone)
    kept, numbers = tmp_path / "kept.jsonl", tmp_path / "validation.json"
    command = ("validate", ROOT / "data" / "sample_scored.jsonl", kept, "--json", numbers)
    code = subprocess.run(
        [sys.executable, "-m", "judge", *map(str, command)],
        stdout=pipe,
        stderr=pipe,
        timeout=120,
        check=False,
    ).returncode
    os.close(pipe)
    assert code == run("judge", *command).code
    assert kept.read_text("utf-8")
    assert json.loads(numbers.read_text("utf-8"))
