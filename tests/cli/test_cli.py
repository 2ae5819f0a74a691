"""Every command: help is quick, data commands never load torch, wrong input is told in words."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from commands import run

import reward_model

COMMANDS = [
    ("datagen",),
    ("datagen", "frameworks"),
    ("datagen", "pairs"),
    ("judge",),
    ("judge", "score"),
    ("judge", "validate"),
    ("judge", "agree"),
    ("judge", "redteam"),
    ("judge", "calibrate"),
    ("judge", "export-review"),
    ("judge", "import-review"),
    ("reward-model",),
    ("reward-model", "labels"),
    ("reward-model", "train"),
    ("reward-model", "evaluate"),
    ("reward-model", "audit"),
    ("reward-model", "calibrate"),
    ("reward-model", "score"),
    ("reward-model", "serve"),
    ("reward-model", "prefer"),
    ("reward-model", "export"),
    ("reward-model", "doctor"),
    ("reward-model", "quickstart"),
]
HEAVY = ["torch", "transformers", "datasets", "sklearn", "scipy", "matplotlib", "openai"]
PAIR = '{"prompt": "p", "chosen": "good", "rejected": "bad"}\n'
SCORED = (
    '{"prompt": "p", "chosen": "good", "rejected": "bad", "scores": {"chosen": '
    '{"depth": 4, "professionalism": 4, "accuracy": 4}, "rejected": '
    '{"depth": 2, "professionalism": 2, "accuracy": 2}}}\n'
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_is_quick_and_light(words: tuple[str, ...]) -> None:
    code = (
        f"import sys; sys.argv = {[*words, '--help']!r}\n"
        f"from {words[0].replace('-', '_')}.cli import main\n"
        "try: main()\n"
        "except SystemExit as leave: assert leave.code == 0, leave.code\n"
        f"loaded = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert "...\n" not in done.stdout.partition("Commands:")[2], "a sentence is cut"
    # Processor time, so that the tests beside this one do not count.
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert spent < 1.0


def test_importing_the_package_does_nothing() -> None:
    code = (
        "import sys, logging, random; state = random.getstate()\n"
        "import reward_model, datagen, judge, reward_model.llm, reward_model.checks\n"
        "assert random.getstate() == state and not logging.getLogger().handlers\n"
        f"assert not [m for m in {HEAVY!r} if m in sys.modules]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_client_and_what_was_measured_before_need_no_model() -> None:
    code = (
        "import sys\n"
        "from reward_model import Score\n"
        "from reward_model.rlhf.client import RewardClient\n"
        "from reward_model.measure.evaluation.words import WHAT\n"
        "assert not [m for m in ('torch', 'transformers') if m in sys.modules]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _broken(tmp_path: Path, name: str) -> Path:
    """A file or folder that no command can use."""
    path = tmp_path / f"{name}.jsonl"
    good = SCORED * 6
    contents = {
        "empty": b"",
        "broken": (good + '{"prompt": "p", \n').encode(),
        "column": (good + '{"prompt": "p", "chosen": "good"}\n').encode(),
        "level_5": (good + SCORED.replace('"depth": 4', '"depth": 5')).encode(),
        "level_high": (good + SCORED.replace('"depth": 4', '"depth": "high"')).encode(),
        "key": (good + SCORED.replace('"prompt"', '"propmt"')).encode(),
        "dimension": (good + SCORED.replace('"depth": 2', '"dept": 2')).encode(),
        "encoding": good.encode() + '{"prompt": "报告"}\n'.encode("gb18030"),
    }
    if name in contents:
        path.write_bytes(contents[name])
    elif name == "folder":
        path.mkdir()
    return path


WRONG = {
    "missing": "no such file or folder",
    "empty": "an empty file",
    "folder": "a folder",
    "broken": "line 7: found broken JSON",
    "column": "line 7: found no key rejected",
    "level_5": "line 7: found level 5 in scores.chosen.depth; expected an integer from 0 to 4",
    "level_high": "line 7: found 'high' in scores.chosen.depth; expected an integer level or null",
    "key": "line 7: found unknown key propmt",
    "dimension": "line 7: found unknown dimension 'dept' in scores.rejected",
    "encoding": "line 7: found bytes that are not UTF-8",
}
TINY, LORA = ("--base-model", "tiny"), ("--lora-rank", "4")
NEEDS_LEVELS = {"level_5", "dimension"}
TEXTS_ALONE = {"score", "redteam", "calibrate"}
"""Commands that read texts and no levels."""


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize(
    "words",
    [
        ("judge", "score", "{file}", "--out", "{out}"),
        ("judge", "validate", "{file}", "{out}"),
        ("judge", "agree", "{file}", "{file}"),
        ("judge", "redteam", "{file}"),
        ("judge", "calibrate", "{file}"),
        ("judge", "export-review", "{file}", "--out", "{out}"),
        ("reward-model", "labels", "{file}"),
        ("reward-model", "train", "{file}", "--base-model", "tiny", "--output-dir", "{out}"),
        ("reward-model", "prefer", "{file}", "--out", "{out}"),
        ("reward-model", "doctor", "{file}"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_wrong_files_are_told_in_one_message(
    tmp_path: Path, words: tuple[str, ...], name: str
) -> None:
    if words[1] in TEXTS_ALONE and name in NEEDS_LEVELS:
        pytest.skip("what is to be scored has no levels yet")
    path, out = _broken(tmp_path, name), tmp_path / "out"
    extra = ["--overwrite-scores"] if words[1] == "score" else []
    before = sorted(os.listdir(tmp_path))
    done = run(words[0], *(w.format(file=path, out=out) for w in words[1:]), *extra)
    assert done.code == 2, done.stderr
    message = " ".join(done.stderr.split())
    assert "Traceback" not in message
    assert message.count("error:") == 1
    # The doctor looks at a folder as at a model.
    no_model = words[1] == "doctor" and name == "folder"
    assert ("no config.json of a model" if no_model else WRONG[name]) in message
    assert str(path) in message
    assert sorted(os.listdir(tmp_path)) == before, "something was left behind"
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("datagen", "pairs", "--out", "{out}", "--fields", "矿业"), "矿业"),
        (("datagen", "pairs", "--out", "{out}", "--language", "fr"), "fr"),
        (("datagen", "pairs", "--out", "{out}", "--rubric", "none"), "unknown rubric 'none'"),
        (("datagen", "pairs", "--out", "{out}", "--llm", "acme:x"), "unknown model 'acme:x'"),
        (("datagen", "pairs", "--out", "{out}", "--statements", "no.csv"), "no such file"),
        (("judge", "score", "{good}", "--out", "{out}", "--rubric", "x"), "unknown rubric 'x'"),
        (("judge", "score", "{good}", "--out", "{out}", "--samples", "0"), "samples"),
        (("judge", "validate", "{good}", "--rubric", "helpsteer"), "unknown dimension"),
        (
            ("reward-model", "train", "{good}", "--base-model", "none", "--output-dir", "{out}"),
            "'none'",
        ),
        (
            ("reward-model", "train", "{good}", "--output-dir", "{out}", "--load-in-4bit"),
            "load_in_4bit without lora_rank",
        ),
        (
            ("reward-model", "train", "{good}", "--output-dir", "{out}", "--lora-rank", "-1"),
            "lora_rank: -1 (input should be greater than or equal to 0)",
        ),
        (
            (*("reward-model", "train", "{good}", "--output-dir", "{out}"), *TINY, *LORA),
            "a base model without linear layers",
        ),
        (("reward-model", "evaluate", "{out}", "{good}"), "no such"),
        (("reward-model", "labels", "{good}", "--columns", "none.toml"), "none.toml"),
        (("reward-model", "labels", "{good}", "--columns", "{good}"), "broken TOML"),
        (
            ("reward-model", "train", "{good}", "--output-dir", "{out}", "--hold-out", "red"),
            "FACET=VALUE",
        ),
        (("reward-model", "audit", "{out}", "{good}"), "no such"),
        (("reward-model", "audit", "{out}", "{good}", "--probe", "x"), "one of length_padding"),
        (("reward-model", "audit", "{out}", "{good}", "--split", "x"), "one of auto, test"),
        (("reward-model", "calibrate", "{out}", "{good}"), "no such"),
        (("reward-model", "score", "{out}", "{good}", "--out", "{out}2"), "no such"),
        (("reward-model", "score", "{out}", "{good}", "--out", "{out}2", "--how", "x"), "--how x"),
        (("reward-model", "score", "{out}", "{good}", "--out", "{out}.parquet"), "no such"),
        (("reward-model", "serve", "{out}"), "no such"),
        (("reward-model", "serve", "{out}", "--chat-template", "x"), "chatml, qwen, llama3"),
        (("reward-model", "serve", "{out}", "--max-body-mb", "0"), "--max-body-mb 0"),
        (("reward-model", "serve", "{out}", "--port", "70000"), "65535"),
        (("reward-model", "prefer", "{out}", "{good}", "--out", "{out}2"), "no such"),
        (("reward-model", "export", "{out}", "--to", "onnx", "--out", "{out}2"), "no such"),
        (("reward-model", "doctor", "{out}"), "no such"),
        (("reward-model", "quickstart", "--language", "fr", "--out", "{out}"), "language 'fr'"),
        (("reward-model", "train"), "Missing argument"),
        (("judge", "nonsense"), "No such command"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_wrong_use_is_told(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text("".join(SCORED.replace('"p"', f'"{i}"') for i in range(9)))
    out = tmp_path / "out"
    done = run(words[0], *(w.format(good=good, out=out) for w in words[1:]))
    assert done.code == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert any(part in done.stderr for part in message.split("|")), done.stderr
    assert os.listdir(tmp_path) == ["good.jsonl"]


@pytest.mark.skipif(not Path("/proc/1").exists(), reason="needs a place nobody can write: /proc")
@pytest.mark.parametrize(
    "words",
    [
        ("datagen", "pairs", "--pairs", "1", "--out", "/proc/x/pairs.jsonl"),
        ("judge", "score", "{pairs}", "--out", "/proc/x/scored.jsonl"),
        ("judge", "validate", "{scored}", "/proc/x/kept.jsonl"),
        ("judge", "validate", "{scored}", "--html", "/proc/x/page.html"),
        ("reward-model", "prefer", "{scored}", "--out", "/proc/x/prefs"),
        ("reward-model", "labels", "{scored}", "--json", "/proc/x/labels.json"),
        ("reward-model", "train", "{scored}", "--base-model", "tiny", "--output-dir", "/proc/x/m"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, words: tuple[str, ...]) -> None:
    pairs, scored = tmp_path / "pairs.jsonl", tmp_path / "scored.jsonl"
    pairs.write_text(PAIR * 2)
    scored.write_text("".join(SCORED.replace('"p"', f'"{i}"') for i in range(9)))
    done = run(words[0], *(w.format(pairs=pairs, scored=scored) for w in words[1:]))
    assert done.code == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "/proc/x" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["pairs.jsonl", "scored.jsonl"]


@pytest.mark.parametrize("command", ["reward-model", "datagen", "judge"])
def test_version_and_completion(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(command, "--version") == (0, f"{command} {reward_model.__version__}\n", "")
    assert metadata.version("multidim-reward") == reward_model.__version__
    name = command.replace("-", "_")
    monkeypatch.setenv(f"_{name.upper()}_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_CWORD", "1")
    first = "pairs" if command == "datagen" else "score"
    for begun, offered in [(first[:2], first), ("--ver", "--version")]:
        monkeypatch.setenv("COMP_WORDS", f"{command} {begun}")
        assert run(command).stdout.split() == [offered]
