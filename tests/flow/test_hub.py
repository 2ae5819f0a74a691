"""A hub, by its HTTP: what is pushed arrives with a card that hubs read, and loads from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fake_hub import Hub, Place, fake_hub
from scored_sets import scored_set, write
from tiny_models import save_encoder

from reward_model.model.card.text import card_text
from reward_model.records import UserError
from reward_model.records.hub import is_fetched, model_folder


@pytest.fixture
def hub() -> Iterator[Hub]:
    with fake_hub() as running:
        yield running


def run(hub: Hub, cwd: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, **hub.env, "HF_HOME": str(cwd / "home"), "COLUMNS": "300", **env},
        capture_output=True,
        text=True,
        timeout=200,
    )


def header(card: bytes) -> dict[str, object]:
    found = yaml.safe_load(card.decode().split("---\n")[1])
    assert isinstance(found, dict)
    return found


PAIRS = ("-m", "datagen", "pairs", "--pairs", 2, "--out", "pairs.jsonl")


def test_data_sets_and_preferences_are_pushed_with_cards(hub: Hub, tmp_path: Path) -> None:
    made = run(hub, tmp_path, *PAIRS, "--push-to-hub", "me/pairs")
    assert made.returncode == 0, made.stderr
    assert "pushed to me/pairs, private" in made.stderr
    scored = write(tmp_path / "scored.jsonl", scored_set(groups=2))
    words = ("-m", "reward_model", "prefer", scored, "--out", "prefs", "--push-to-hub", "prefs")
    done = run(hub, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "pushed to me/prefs, private" in done.stderr
    assert {name: place.private for name, place in hub.places.items()} == {
        "datasets/me/pairs": True,
        "datasets/me/prefs": True,
    }
    for name, local in [("pairs", "pairs.jsonl"), ("prefs", "prefs/train.jsonl")]:
        place = hub.places[f"datasets/me/{name}"]
        files = place.commits[place.head]
        assert files["train.jsonl"] == (tmp_path / local).read_bytes()
        told = header(files["README.md"])
        assert told["configs"][0]["data_files"][0]["path"] == "train.jsonl"  # type: ignore[index]
        assert told["size_categories"] == ["n<1K"]
        assert "rlhf" in told["tags"]  # type: ignore[operator]
    assert hub.keys - {""} == {"Bearer hf_test"}


def test_a_public_place_and_a_hub_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    hub.places["datasets/me/pairs"] = Place(False, {"0" * 40: {}})
    done = run(hub, tmp_path, *PAIRS, "--push-to-hub", "me/pairs")
    assert done.returncode == 2
    assert "found a public data set me/pairs; expected a private one" in done.stderr
    assert not hub.places["datasets/me/pairs"].commits["0" * 40]
    assert (tmp_path / "pairs.jsonl").exists()
    done = run(hub, tmp_path, *PAIRS, "--push-to-hub", "x/y", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 2
    assert "no hub to reach" in done.stderr
    assert "is whole on this disk" in done.stderr


def test_what_is_missing_is_told_before_the_work(hub: Hub, tmp_path: Path) -> None:
    done = run(hub, tmp_path, *PAIRS, "--push-to-hub", "me/pairs", HF_TOKEN="")
    assert done.returncode == 2
    assert "no token of the hub" in done.stderr
    assert not (tmp_path / "pairs.jsonl").exists()


def test_a_model_is_pushed_and_loads_by_name_and_revision(hub: Hub, tmp_path: Path) -> None:
    best = save_encoder(tmp_path / "best")
    (best / "README.md").write_text(card_text({}, None))
    (best / "evil.py").write_text("raise SystemExit('code ran')")
    program = tmp_path / "program.py"
    program.write_text(
        """import json, sys
from pathlib import Path
from reward_model import RewardScorer
from reward_model.records import UserError
from reward_model.records.hub import MODEL_FILES, push

assert push(Path("best"), "me/model", "model", MODEL_FILES) == "me/model"
text = ("Margins?", "Up by a third.")
told = {"here": RewardScorer.from_pretrained("best", device="cpu").score(*text).reward}
for revision in (None, "main", sys.argv[1]):
    try:
        scorer = RewardScorer.from_pretrained("me/model", revision=revision, device="cpu")
        told[str(revision)] = scorer.score(*text).reward
    except UserError as error:
        told[str(revision)] = str(error)
for name, revision in (("me/lost", None), ("best", "main"), ("a/b/c", None)):
    try:
        RewardScorer.from_pretrained(name, revision=revision)
    except UserError as error:
        told[name] = str(error)
# Commands take the same names.
from typer.testing import CliRunner
from reward_model.cli.commands import app

for words in sys.argv[2:]:
    done = CliRunner().invoke(app, words.split())
    told[words.split()[0]] = {"code": done.exit_code, "said": done.output}
print(json.dumps(told))
"""
    )
    texts = [{"prompt": "Margins?", "response": one} for one in ("Up by a third.", "no " * 20)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    commands = (
        "score me/model@main --prompt Margins? --response Up. --json score.json",
        "doctor me/model@main --json doctor.json",
        "calibrate me/model@main texts.jsonl --rewards --json scale.json",
    )
    done = run(hub, tmp_path, program, "f" * 40, *commands)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["None"] == told["main"] == told["here"]
    assert "no such model at ffffffff" in told["f" * 40]
    assert "no such folder me/lost, and no such model from the hub" in told["me/lost"]
    assert "revision 'main' of a folder" in told["best"]
    assert "no such folder" in told["a/b/c"]
    for name in ("score", "doctor", "calibrate"):
        assert told[name]["code"] == 0, told[name]
    assert 0 < json.loads((tmp_path / "score.json").read_text())["reward"] < 1
    found = json.loads((tmp_path / "doctor.json").read_text())["findings"]
    assert {one["check"] for one in found} > {"heads"}
    assert "which is not written into" in " ".join(told["calibrate"]["said"].split())
    assert json.loads((tmp_path / "scale.json").read_text())["texts"] == 2
    assert not list((tmp_path / "home").rglob("reward_scale*"))
    place = hub.places["models/me/model"]
    files = place.commits[place.head]
    assert "evil.py" not in files
    assert header(files["README.md"])["library_name"] == "multidim-reward"
    assert place.private


def test_a_model_that_is_nowhere_is_one_sentence_and_no_wait(hub: Hub, tmp_path: Path) -> None:
    """The client of the hub would ask five times for every file and tell each try."""
    row = {"prompt": "p", "chosen": "a", "rejected": "b"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    lost = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    for env, words in (({}, "no such model from the hub"), (lost, "no hub to reach")):
        begun = time.monotonic()
        done = run(
            hub,
            tmp_path,
            "-m",
            "reward_model",
            "bench",
            "nowhere/at-all",
            "--data",
            "pairs.jsonl",
            **env,
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1, done.stderr
        assert time.monotonic() - begun < 15


def test_a_folder_wins_and_a_command_names_what_is_missing(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert model_folder("me/model") == Path("me/model")
    for name in ("a/b/c", "model", "me/other@", "me/misspelt", "/nowhere/at-all"):
        assert model_folder(name) == Path(name)  # no name of a hub: nothing is asked of one
    with pytest.raises(UserError, match="revision 'main' of a folder"):
        model_folder("me/model", "main")
    assert not is_fetched(tmp_path)
    for name, words in (
        ("me/lost@v1", "no such folder me/lost, and no such model at v1 from the hub"),
        ("a/b/lost", "no such folder"),
    ):
        done = run(hub, tmp_path, "-m", "reward_model", "score", name, "--response", "yes")
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
