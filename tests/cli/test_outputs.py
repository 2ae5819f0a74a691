"""Nobody's file is destroyed: outputs against inputs, ledgers that are none, two runs at once."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from commands import run
from scored_sets import scored_set, write

from reward_model.records import Appender, UserError, check_outputs, locked, repair_tail, writing
from reward_model.records.folders import staged

OVER = [
    ("judge", "validate", "{data}", "{victim}"),
    ("judge", "validate", "{data}", "--json", "{victim}"),
    ("judge", "validate", "{data}", "--html", "{victim}"),
    ("judge", "agree", "{data}", "{other}", "--json", "{victim}"),
    ("judge", "agree", "{other}", "{data}", "--json", "{victim}"),
    ("judge", "redteam", "{data}", "--json", "{victim}"),
    ("judge", "redteam", "{data}", "--ledger", "{victim}"),
    ("judge", "calibrate", "{data}", "--json", "{victim}"),
    ("judge", "calibrate", "{data}", "--ledger", "{victim}"),
    ("judge", "score", "{data}", "--out", "{victim}"),
    ("judge", "score", "{data}", "--out", "{new}", "--ledger", "{victim}"),
    ("judge", "score", "{data}", "--overwrite-scores", "--out", "{new}", "--ledger", "{victim}"),
    ("judge", "export-review", "{data}", "--out", "{victim}"),
    ("judge", "import-review", "{data}", "{other}", "--out", "{victim}"),
    ("judge", "import-review", "{other}", "{data}", "--out", "{victim}"),
    ("reward-model", "labels", "{data}", "--json", "{victim}"),
    ("reward-model", "evaluate", "{model}", "{data}", "--json", "{victim}"),
    ("reward-model", "evaluate", "{model}", "{data}", "--html", "{victim}"),
    ("reward-model", "evaluate", "{model}", "{other}", "--train-data", "{data}",
     "--html", "{victim}"),
    ("reward-model", "evaluate", "{model}", "{data}", "--json", "{model}/config.json"),
    ("reward-model", "audit", "{model}", "{data}", "--json", "{victim}"),
    ("reward-model", "calibrate", "{model}", "{data}", "--json", "{victim}"),
    ("reward-model", "calibrate", "{model}", "{data}", "--json", "{model}/model.safetensors"),
    ("reward-model", "doctor", "{data}", "--json", "{victim}"),
    ("reward-model", "doctor", "{model}", "--json", "{model}/config.json"),
    ("reward-model", "score", "{model}", "{data}", "--out", "{victim}"),
    ("reward-model", "score", "{model}", "{data}", "--out", "{model}/config.json"),
    ("reward-model", "score", "{model}", "{data}", "--out", "{new}", "--json", "{victim}"),
    ("reward-model", "prefer", "{data}", "--out", "{new}", "--json", "{victim}"),
    ("reward-model", "prefer", "{model}", "{data}", "--out", "{new}", "--json", "{victim}"),
    ("reward-model", "export", "{model}", "--to", "scalar", "--data", "{data}", "--out", "{new}",
     "--json", "{victim}"),
    ("reward-model", "policy", "evaluate", "{model}", "--data", "{data}", "--json", "{victim}"),
    ("reward-model", "policy", "evaluate", "{model}", "--data", "{data}", "--html", "{victim}"),
    ("reward-model", "policy", "evaluate", "{model}", "--data", "{other}", "--prompts", "{data}",
     "--json", "{victim}"),
    ("reward-model", "policy", "evaluate", "{model}", "--data", "{data}",
     "--json", "{model}/config.json"),
    ("reward-model", "policy", "loop", "{loop}", "--json", "{victim}"),
    ("reward-model", "policy", "loop", "{loop}", "--json", "{loop}"),
    ("reward-model", "policy", "loop", "{loop}", "--json", "{model}/config.json"),
    ("reward-model", "bench", "length", "--data", "name={data}", "--json", "{victim}"),
    ("reward-model", "bench", "ours={model}", "--data", "{data}", "--html", "{model}/config.json"),
    ("datagen", "pairs", "--statements", "{data}", "--out", "{victim}"),
    ("datagen", "pairs", "--statements", "{data}", "--out", "{new}", "--ledger", "{victim}"),
]  # fmt: skip


@pytest.mark.parametrize("by", ["name", "symlink", "hard link"])
@pytest.mark.parametrize("words", OVER, ids=" ".join)
def test_no_output_goes_over_an_input(tmp_path: Path, words: tuple[str, ...], by: str) -> None:
    rows = scored_set(groups=2)
    data, other = write(tmp_path / "data.jsonl", rows), write(tmp_path / "other.jsonl", rows)
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("{}")
    loop = tmp_path / "loop.toml"
    loop.write_text(f"base = '{model}'\nreward = '{model}'\nprompts = '{data}'\n")
    victim = data
    if by != "name":
        victim = tmp_path / "link.jsonl"
        victim.symlink_to(data) if by == "symlink" else os.link(data, victim)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    names = {"data": data, "other": other, "model": model, "loop": loop, "victim": victim}
    done = run(words[0], *(w.format(**names, new=tmp_path / "new") for w in words[1:]))
    assert done.code == 2, done.stderr
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    said = " ".join(done.stderr.split())
    assert "the input itself as" in said or "there already" in said, said


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", scored_set(groups=2))
    done = run("judge", "validate", data, "--json", tmp_path / "x", "--html", tmp_path / "x")
    assert done.code == 2
    assert "one file for --json and --html" in done.stderr
    done = run("judge", "validate", data, tmp_path / "x", "--json", tmp_path / "x.config.json")
    assert done.code == 2
    check_outputs({"--json": "/dev/null", "--html": "/dev/null"}, ["/dev/null"])


FOREIGN = {
    "a JSON file of one line": b'{"my": "notes", "of": "years"}',
    "pairs": b'{"chosen": "a", "rejected": "b"}\n{"chosen": "a", "rejected": "b"}',
    "rows with a key": b'{"key": "a", "value": 1}\n{"key": "b", "val',
    "a table": b"key,text\n1,hello",
    "a single line of text": b"notes",
    "binary": bytes(range(256)) * 3,
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize(
    "words",
    [
        ("judge", "score", "{data}", "--overwrite-scores", "--out", "{new}"),
        ("judge", "redteam", "{data}", "--max-reports", "1"),
        ("judge", "calibrate", "{data}", "--max-reports", "1"),
        ("datagen", "pairs", "--pairs", "1", "--out", "{new}"),
    ],
    ids=lambda words: words[1],
)
def test_a_file_that_is_no_ledger_stays_as_it_is(
    tmp_path: Path, words: tuple[str, ...], content: bytes
) -> None:
    data = tmp_path / "data.jsonl"
    made = run("datagen", "pairs", "--pairs", "1", "--neutral-share", "0", "--out", data)
    assert made.code == 0, made.stderr
    mine = tmp_path / "mine"
    mine.write_bytes(content)
    new = tmp_path / "new.jsonl"
    done = run(words[0], *(w.format(data=data, new=new) for w in words[1:]), "--ledger", mine)
    assert done.code == 2, done.stderr
    assert "a line that is no call" in done.stderr
    assert mine.read_bytes() == content
    assert not new.exists()


def test_a_second_run_leaves_the_first_ones_files_alone(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    assert run("datagen", "pairs", "--pairs", "2", "--out", out).code == 0
    notes = tmp_path / ".pairs.jsonl.swp"
    notes.write_text("of an editor")
    out.write_bytes(out.read_bytes()[:-30])  # as while the first run still writes
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with locked(out):
        for options in ([], ["--seed", "5"], ["--ledger", str(tmp_path / "other.jsonl")]):
            done = run("datagen", "pairs", "--pairs", "2", "--out", out, *options)
            assert done.code == 2
            assert "another run is writing" in done.stderr
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    # A file that takes the place of the pairs has lines that are none of theirs.
    own = out.read_bytes()
    out.write_text(json.dumps({"id": "another", "chosen": "a", "rejected": "b"}) + "\nhalf")
    done = run("datagen", "pairs", "--pairs", "2", "--out", out)
    assert done.code == 2
    assert "line 1: found a line that is no pair of this data set" in done.stderr
    assert out.read_text().endswith("\nhalf")
    out.write_bytes(own)
    assert run("datagen", "pairs", "--pairs", "2", "--out", out).code == 0
    assert notes.read_text() == "of an editor"


def test_scoring_and_preferring_wait_for_no_one(tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", scored_set(groups=2))
    out, prefs = tmp_path / "out.jsonl", tmp_path / "prefs"
    with locked(out):
        done = run("judge", "score", data, "--overwrite-scores", "--out", out)
        assert (done.code, out.exists()) == (2, False)
        assert "another run is writing" in done.stderr
    with locked(prefs / "train.jsonl"):
        done = run("reward-model", "prefer", data, "--out", prefs)
        assert done.code == 2
        assert "a folder that another run is writing" in done.stderr
    assert not prefs.exists()
    assert run("reward-model", "prefer", data, "--out", prefs).code == 0
    assert not list(prefs.glob(".*"))


def test_a_last_line_that_is_whole_gets_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}')
    assert not repair_tail(path)
    with Appender(path) as file:
        file.append({"a": 3})
    assert path.read_bytes() == b'{"a": 1}\n{"a": 2}\n{"a": 3}\n'
    for torn in (b'{"a": ', b"12", b"[1]", "万".encode()[:2]):
        path.write_bytes(b'{"a": 1}\n' + torn)
        assert repair_tail(path)
        assert path.read_bytes() == b'{"a": 1}\n'


def test_a_link_stays_a_link_and_a_file_keeps_its_mode(tmp_path: Path) -> None:
    real, link = tmp_path / "store" / "real.json", tmp_path / "link.json"
    real.parent.mkdir()
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    with writing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("new", 0o600)
    assert [p.name for p in real.parent.iterdir()] == ["real.json"]
    dangling = tmp_path / "later.json"
    dangling.symlink_to(tmp_path / "store" / "later.json")
    with writing(dangling) as file:
        file.write(b"there")
    assert (tmp_path / "store" / "later.json").read_text() == "there"
    with writing("/dev/null") as file:
        file.write(b"gone")
    assert not Path("/dev/null").is_file()


def test_a_pipe_can_be_written_to(tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", scored_set(groups=2))
    reading, writing_end = os.pipe()
    done = run("reward-model", "labels", data, "--json", f"/dev/fd/{writing_end}")
    os.close(writing_end)
    with os.fdopen(reading, "rb") as pipe:
        assert json.loads(pipe.read())["texts"] == 24
    assert done.code == 0, done.stderr


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750)]
)
def test_published_folders_can_be_read(tmp_path: Path, umask: int, file: int, folder: int) -> None:
    old = os.umask(umask)
    try:
        with staged(tmp_path / "best") as place:
            (place / "sub").mkdir(mode=0o700)
            for name in ("model.safetensors", "sub/tokenizer.json"):
                (place / name).write_bytes(b"x")
                (place / name).chmod(0o600)
    finally:
        os.umask(old)
    modes = {p: p.stat().st_mode & 0o777 for p in (tmp_path / "best").rglob("*")}
    assert modes[tmp_path / "best" / "model.safetensors"] == file
    assert modes[tmp_path / "best" / "sub" / "tokenizer.json"] == file
    assert modes[tmp_path / "best" / "sub"] == folder
    assert (tmp_path / "best").stat().st_mode & 0o777 == folder
    shutil.rmtree(tmp_path / "best")


def test_a_folder_that_was_made_for_a_lock_goes_with_it(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b" / "c.jsonl"):
        assert (tmp_path / "a" / "b" / ".c.jsonl.lock").exists()
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a" / "c.jsonl"):
        (tmp_path / "a" / "c.jsonl").write_text("x")
        (tmp_path / "link").symlink_to(tmp_path / "a" / "c.jsonl")
        with pytest.raises(UserError, match="another run"), locked(tmp_path / "link"):
            pass
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["c.jsonl"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs the rights of POSIX")
def test_no_right_to_read_is_not_that_nothing_is_there(tmp_path: Path) -> None:
    """As nobody where tests run as root, who may read all."""
    from reward_model.model.quiet import check_fetched, model_type
    from reward_model.records import read_object

    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_text("{}")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).chmod(0)
    own = os.geteuid()
    os.seteuid(own or 65534)
    try:
        for look in (lambda p: read_object(p / "config.json"), model_type, check_fetched):
            with pytest.raises(UserError, match="no right to read or write it"):
                look(tmp_path)
    finally:
        os.seteuid(own)


def test_no_right_to_look_is_not_that_nothing_is_there(tmp_path: Path) -> None:
    """`Path.exists` and `is_dir` say so from Python 3.14 on."""
    from reward_model.records import is_folder, is_there

    inside = tmp_path / "closed" / "model"
    inside.mkdir(parents=True)
    assert is_folder(inside)
    assert not is_there(tmp_path / "none" / "\0")
    (tmp_path / "file").write_text("")
    assert is_there(tmp_path / "file")
    assert not is_folder(tmp_path / "file")
    assert not is_there(tmp_path / "file" / "under")
    (tmp_path / "closed").chmod(0)
    own = os.geteuid()
    os.seteuid(own or 65534)
    try:
        for look in (is_there, is_folder):
            with pytest.raises(PermissionError):
                look(inside)
    finally:
        os.seteuid(own)
        (tmp_path / "closed").chmod(0o755)
