"""What shells, supervisors and other people's programs hand to the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import run
from scored_sets import scored_set
from tiny_models import save_encoder
from toy import write

SINGLE = [{"prompt": "Margins?", "response": f"Up by {i} points."} for i in range(3)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("doors") / "best")


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    return write(tmp_path / "scored.jsonl", scored_set(groups=12))


def piped(path: Path, *words: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    """A command that is to read a file from its standard input, which is a pipe."""
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as source:
        return subprocess.run(
            [sys.executable, "-m", *map(str, words)],
            stdin=source.stdout,
            capture_output=True,
            text=True,
            timeout=120,
            **settings,
        )


@pytest.mark.skipif(sys.platform == "win32", reason="no /dev/stdin")
@pytest.mark.parametrize(
    "words",
    [
        ("reward_model", "labels", "/dev/stdin"),
        ("reward_model", "doctor", "/dev/stdin"),
        ("reward_model", "train", "/dev/stdin", "--output-dir", "OUT"),
        ("reward_model", "score", "MODEL", "/dev/stdin", "--out", "OUT"),
        ("reward_model", "evaluate", "MODEL", "/dev/stdin"),
        ("reward_model", "audit", "MODEL", "/dev/stdin"),
        ("reward_model", "prefer", "MODEL", "/dev/stdin", "--out", "OUT"),
        ("reward_model", "traffic", "monitor", "/dev/stdin"),
        ("reward_model", "traffic", "pairs", "/dev/stdin", "--out", "OUT"),
        ("judge", "validate", "/dev/stdin"),
        ("judge", "score", "/dev/stdin", "--out", "OUT"),
        ("judge", "agree", "/dev/stdin", "/dev/stdin"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_a_pipe_is_called_one(
    words: tuple[str, ...], model: Path, scored: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    named = [{"MODEL": str(model), "OUT": str(out)}.get(word, word) for word in words]
    said = piped(scored, *named)
    assert (said.returncode, "Traceback" in said.stderr) == (2, False), said.stderr
    assert "/dev/stdin: found a pipe or a device" in said.stderr
    assert "write it to a file first" in said.stderr
    assert not out.exists()


def test_nobody_elses_file_is_written_over(scored: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", scored_set(groups=4))
    before = other.read_bytes()
    said = run("judge", "validate", scored, other, "--no-ngrams")
    assert (said.code, other.read_bytes()) == (2, before)
    assert "other.jsonl: found a file that this command did not write" in said.stderr
    made = tmp_path / "made.jsonl"  # with settings beside it, but another command's
    assert run("datagen", "pairs", "--pairs", 2, "--out", made).code == 0
    before = made.read_bytes()
    said = run("judge", "validate", scored, made, "--no-ngrams")
    assert (said.code, made.read_bytes()) == (2, before)
    before = other.read_bytes()
    log = write(
        tmp_path / "log.jsonl",
        [{"prompt": "a", "response": f"b{i}", "feedback": "up", "user": f"u{i}"} for i in range(9)],
    )
    pairs = ("reward-model", "traffic", "pairs", log, "--format", "kto", "--out")
    said = run(*pairs, other)
    assert (said.code, other.read_bytes()) == (2, before)
    mine = tmp_path / "mine.jsonl"
    for _ in range(2):  # what the command wrote itself it writes again
        assert run(*pairs, mine).code == 0
    kept = tmp_path / "kept.jsonl"
    for gap in (0.5, 1.0):
        assert run("judge", "validate", scored, kept, "--no-ngrams", "--min-gap", gap).code in (
            0,
            1,
        )


def test_a_report_is_none_of_its_pages(scored: Path, tmp_path: Path) -> None:
    pages = tmp_path / "run"
    page = pages / "validation.html"
    assert run("judge", "validate", scored, "--no-ngrams", "--html", page).code in (0, 1)
    before = page.read_bytes()
    said = run("reward-model", "report", pages, "--out", page)
    assert (said.code, page.read_bytes()) == (2, before)
    for _ in range(2):
        assert run("reward-model", "report", pages).code == 0


@pytest.mark.parametrize("column", [{"style": "rule", "ground_truth": "4"}, "4", [1, 2], 3.5])
def test_a_column_of_the_same_name_is_not_dropped(model: Path, tmp_path: Path, column: Any) -> None:
    rows = [*SINGLE[:1], {**SINGLE[1], "reward_model": column}]
    out = tmp_path / "out.jsonl"
    said = run("reward-model", "score", model, write(tmp_path / "in.jsonl", rows), "--out", out)
    assert said.code == 2
    assert "in.jsonl, line 2: found a column reward_model that score did not write" in said.stderr
    assert not out.exists()


def test_scores_are_scored_again(model: Path, tmp_path: Path) -> None:
    pair = {"prompt": "Margins?", "chosen": "Up by 2 points.", "rejected": "Up."}
    for name, rows in (("one", SINGLE), ("pair", [pair])):
        out = tmp_path / f"{name}.jsonl"
        texts = write(tmp_path / f"{name}-in.jsonl", rows)
        assert run("reward-model", "score", model, texts, "--out", out).code == 0
        again = tmp_path / f"{name}-again.jsonl"
        assert run("reward-model", "score", model, out, "--out", again).code == 0
        assert again.read_bytes() == out.read_bytes()


def test_a_name_twice_is_no_choice(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "twice.csv"
    table.write_text("prompt,response,response\na,b,c\n")
    out = tmp_path / "out.jsonl"
    texts = write(tmp_path / "in.jsonl", SINGLE)
    for words, told in (
        ((table,), "twice.csv, line 1: found two columns called 'response'"),
        ((texts, "--weight", "depth=1", "--weight", "depth=2"), "two weights of depth"),
        ((texts, "--columns", "response=response,response=prompt"), "response twice in --columns"),
    ):
        said = run("reward-model", "score", model, *words, "--out", out)
        assert (said.code, told in said.stderr) == (2, True), said.stderr
        assert not out.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("judge", "agree", "IN", "IN", "--resamples", 0),
        ("judge", "agree", "IN", "IN", "--seed", -1),
        ("judge", "validate", "IN", "--seed", -1),
        ("judge", "validate", "IN", "OUT", "--min-gap", "nan"),
        ("judge", "validate", "IN", "OUT", "--max-length-ratio", "nan"),
        ("judge", "validate", "IN", "-"),
        ("judge", "score", "IN", "--out", "-"),
        ("judge", "score", "IN", "--out", "/dev/null"),
        ("reward-model", "report", "FOLDER", "--out", "-"),
        ("datagen", "pairs", "--pairs", 2, "--out", "OUT", "--statements", "/nope"),
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_numbers_and_names_that_are_none(
    words: tuple[object, ...], scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    (tmp_path / "page.html").touch()
    named = {"IN": scored, "OUT": tmp_path / "out.jsonl", "FOLDER": tmp_path}
    said = run(*(named.get(str(word), word) for word in words))
    assert (said.code, "Traceback" in said.stderr) == (2, False), said.stderr
    (tmp_path / "page.html").unlink()
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("body", ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}'])
def test_a_body_that_json_cannot_hold(
    body: str, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    out = tmp_path / "out.jsonl"
    said = run(
        *("judge", "score", scored, "--out", out, "--body", body, "--llm", "openai:m"),
        *("--base-url", "http://127.0.0.1:1", "--attempts", 1),
    )
    assert (said.code, "Traceback" in said.stderr) == (2, False), said.stderr
    assert "body" in said.stderr
    assert not out.exists()


def test_times_at_the_ends_of_the_calendar_are_odd(tmp_path: Path) -> None:
    row = {"prompt": "a", "response": "b", "user": "u", "feedback": "up"}
    ends = ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00")
    rows = [{**row, "time": time} for time in (*ends, "2026-11-01T00:00:00Z")]
    log = write(tmp_path / "log.jsonl", rows)
    said = run("reward-model", "traffic", "monitor", log, "--json", "-")
    assert said.code == 0, said.stderr
    assert json.loads(said.stdout)["notes"] == {"time that is no ISO time and no number": 2}


def test_users_in_both_arms_are_the_reason_that_is_given(tmp_path: Path) -> None:
    rows = [
        {"user": f"u{i % 7}", "time": "2026-11-02T00:00:00Z", "arm": ("old", "new")[i // 7 % 2]}
        | {"prompt": "a", "response": "b", "feedback": "up"}
        for i in range(28)
    ]
    log, test = write(tmp_path / "log.jsonl", rows), tmp_path / "experiment.toml"
    test.write_text(
        'name = "r"\narms = { old = 0.5, new = 0.5 }\nuntil = 2026-11-15T00:00:00Z\n'
        '[primary]\nof = "feedback"\nis = "share"\n'
    )
    said = run("reward-model", "traffic", "ab", log, "--experiment", test)
    assert said.code == 2
    assert "users in several arms, left out: 7" in said.stderr


def test_a_reward_of_ones_own_that_gives_words(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "def words(prompts, completions):\n    return ['a'] * len(prompts)\n"
    )
    texts = write(
        tmp_path / "pairs.jsonl",
        [{"prompt": f"p{i}", "chosen": "good", "rejected": "bad"} for i in range(8)],
    )
    said = run("reward-model", "bench", f"{tmp_path}/own.py:words", "--data", texts)
    assert (said.code, "Traceback" in said.stderr) == (2, False), said.stderr
    assert "own.py:words failed: ValueError" in said.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes it")
@pytest.mark.parametrize("shut", ["2>&-", "2>&- >&-"])
def test_a_closed_stderr_is_no_error(shut: str, tmp_path: Path, scored: Path) -> None:
    out = tmp_path / "labels.json"
    command = f"{sys.executable} -m reward_model labels {scored} --json {out} {shut}"
    assert subprocess.run(["sh", "-c", command], check=False, timeout=120).returncode == 0
    assert json.loads(out.read_text())
    command = f"{sys.executable} -m reward_model labels {tmp_path}/none.jsonl {shut}"
    assert subprocess.run(["sh", "-c", command], check=False, timeout=120).returncode == 2


@pytest.mark.parametrize("columns", ["0", "", "00", "20", "wide"])
def test_a_width_that_is_not_known_or_small_hides_nothing_in_a_log(
    columns: str, scored: Path
) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "reward_model", "labels", str(scored)],
        env={**os.environ, "COLUMNS": columns},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "professionalism" in told.stderr
    assert "…" not in told.stderr


def test_certificates_that_are_not_there_are_named(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    said = run(
        *("judge", "score", scored, "--out", tmp_path / "out.jsonl", "--llm", "openai:m"),
        *("--base-url", "https://127.0.0.1:1", "--attempts", 1),
    )
    assert (said.code, "SSL_CERT_FILE" in said.stderr) == (2, True), said.stderr
