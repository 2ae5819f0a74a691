"""Files that 0.1.0 wrote are read as before: the same scores, labels and splits, nothing redone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, run

from reward_model import (
    MultiDimRewardDataset,
    PairwiseMultiDimDataset,
    RewardScorer,
    get_label_distribution,
)
from reward_model.records import read_pairs

WRITTEN = next(
    folder
    for up in Path(__file__).resolve().parents
    if (folder := up / "written_by_0_1_0").is_dir()
)
EXPECTED: dict[str, Any] = json.loads((WRITTEN / "expected.json").read_text("utf-8"))
BEST = Path("trained/best")
ON_CPU = ("--device", "cpu")


@pytest.fixture(autouse=True)
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in, where the paths of the commands are those that 0.1.0 was given."""
    folder = shutil.copytree(WRITTEN, tmp_path / "copy")
    monkeypatch.chdir(folder)
    return folder


def done(command: str, *args: object) -> Outcome:
    outcome = run(command, *args)
    assert outcome.code == 0, outcome.stderr
    return outcome


def contents(*only: str) -> dict[str, bytes]:
    """Every file of the copy, or those whose path begins so."""
    found = {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    return {name: kept for name, kept in found.items() if name.startswith(only or "")}


def test_the_model_gives_the_same_scores() -> None:
    """Weights, tokenizer, rubric and temperatures of a model folder."""
    scorer = RewardScorer.from_pretrained(BEST, device="cpu")
    assert scorer.rubric.id == json.loads((BEST / "config.json").read_text("utf-8"))["rubric"]
    for asked, before in zip(EXPECTED["texts"], EXPECTED["scores"], strict=True):
        now = scorer.score(**asked).to_json()
        assert now.keys() == before.keys()
        for name in ("reward", "levels", "uncertainty"):
            assert now.pop(name) == pytest.approx(before.pop(name), abs=1e-6), name
        chances, expected = now.pop("probabilities"), before.pop("probabilities")
        assert chances.keys() == expected.keys()
        for name in chances:
            assert chances[name] == pytest.approx(expected[name], abs=1e-6)
        # 0.1.0 called a prompt cut that the model was trained to leave out.
        assert scorer.model.config.max_prompt_length == 0
        assert before.pop("prompt_truncated") is not now.pop("prompt_truncated")
        assert now == before


def test_pairs_and_labels_are_read_the_same() -> None:
    """Labels for training, and the scores that the judge wrote beside who it was."""
    data = MultiDimRewardDataset.from_file("scored_pairs.jsonl")
    assert [list(sample.labels) for sample in data.samples] == EXPECTED["labels"]
    assert [sample.group for sample in data.samples] == EXPECTED["groups"]
    assert get_label_distribution(data) == EXPECTED["label_distribution"]
    assert len(PairwiseMultiDimDataset(data)) == len(data) / 2
    judged = []
    for pair in read_pairs("judged.jsonl"):
        assert pair.scores is not None
        assert pair.scores.judge is not None
        sides = {"chosen": pair.scores.chosen, "rejected": pair.scores.rejected}
        about = {"id": pair.id, "group": pair.group, "kind": pair.metadata.kind}
        judged.append({**about, **sides, "rubric": pair.scores.judge.rubric})
    assert judged == EXPECTED["judged"]


@pytest.mark.parametrize("lost", [False, True], ids=["finished", "only the ledger left"])
@pytest.mark.parametrize(
    "command",
    [
        ("datagen", "pairs", "--pairs", 2, "--out", "pairs.jsonl"),
        ("judge", "score", "pairs.jsonl", "--out", "judged.jsonl"),
    ],
    ids=["datagen", "judge"],
)
def test_no_call_is_paid_again(command: tuple[Any, ...], lost: bool) -> None:
    """The same command finds every call in the ledger and ends in the same bytes."""
    out = str(command[-1])
    before = contents(out)
    if lost:
        Path(out).unlink()
    words = done(*command).stderr
    calls = EXPECTED["ledger_entries"][f"{out}.calls.jsonl"]
    assert len(before[f"{out}.calls.jsonl"].splitlines()) == calls
    after, report, config = contents(out), f"{out}.report.json", f"{out}.config.json"
    if command[0] == "judge":
        assert f"0 calls made, {calls} taken" in words
        assert report not in before  # the judge of 0.1.0 wrote none
        assert json.loads(after.pop(report))["counts"].keys() == {"cached"}
    elif lost:
        assert json.loads(after.pop(report))["counts"] == {"cached": calls}
        del before[report]
    # Keys may stand in another order, and settings that came later stand beside the others.
    now, then = (json.loads(files.pop(config)) for files in (after, before))
    assert now.pop("settings").items() >= then.pop("settings").items()
    assert now == then
    assert after == before


def test_a_finished_score_is_left_alone_and_a_cut_one_goes_on() -> None:
    """Rows that are there are not scored again; what is missing is added as it was."""
    command = ("reward-model", "score", BEST, "texts.jsonl", "--out", "scores.jsonl", *ON_CPU)
    before, stamp = contents(), Path("scores.jsonl").stat().st_mtime_ns
    assert "already holds all 5 rows" in done(*command).stderr
    assert contents() == before
    assert Path("scores.jsonl").stat().st_mtime_ns == stamp
    Path("scores.jsonl").write_bytes(before["scores.jsonl"][:-40])
    assert "going on after 4 rows" in done(*command).stderr
    kept, whole = before["scores.jsonl"].splitlines(), contents()["scores.jsonl"].splitlines()
    assert whole[:-1] == kept[:-1]
    now, then = (json.loads(lines[-1]) for lines in (whole, kept))
    for side in ("chosen", "rejected"):
        mine, theirs = now["reward_model"].pop(side), then["reward_model"].pop(side)
        assert mine["reward"] == pytest.approx(theirs["reward"], abs=2e-6)
        assert mine["levels"] == pytest.approx(theirs["levels"], abs=2e-6)
    assert now == then


def test_preferences_are_made_of_the_scores_that_are_there() -> None:
    """The folder of `prefer` as it was, and another kind of it without scoring again."""
    command = ("reward-model", "prefer", BEST, "completions.jsonl", "--out", "preferences", *ON_CPU)
    made = ("preferences/scores.jsonl", "preferences/train.jsonl")
    before = contents(*made)
    done(*command)
    assert contents(*made) == before
    done(*command, "--pairs", "all")
    assert contents(made[0]).items() <= before.items()
    done("reward-model", "prefer", "judged.jsonl", "--out", "of_judge")


def test_the_split_is_read_and_the_card_kept() -> None:
    """An evaluation measures on the groups that were held out then, and finds what it found."""
    assert json.loads((BEST / "split.json").read_text("utf-8"))["groups"] == EXPECTED["split"]
    kept = tuple(f"{BEST}/card/{part}.json" for part in ("training", "calibration"))
    old = contents(*kept)
    flags = ("--resamples", 100, "--json", "-", *ON_CPU)
    now = json.loads(done("reward-model", "evaluate", BEST, "scored_pairs.jsonl", *flags).stdout)
    before = EXPECTED["evaluation"]
    assert (now["split"], now["labels"]) == (before["split"], before["labels"])
    for name, value in before["model"].items():
        # Limits of intervals are drawn otherwise today where groups are few.
        for part in value.keys() - {"low", "high"}:
            assert now["metrics"]["model"][name][part] == pytest.approx(value[part]), name
    assert contents(*kept) == old
    card = (BEST / "README.md").read_text("utf-8")
    assert json.loads(old[kept[0]])["data"] in card
    assert "No temperatures fitted yet" not in card


def train(out: str) -> Outcome:
    return done(
        *("reward-model", "train", "scored_pairs.jsonl", "--config", "settings.toml"),
        *("--output-dir", out, "--resume"),
    )


def test_a_finished_training_is_left_alone() -> None:
    """Settings, split and rubric count as the same."""
    before = contents()
    assert "trained is finished; nothing is left to do" in train("trained").stderr
    assert contents() == before


def test_a_stopped_training_goes_on_from_its_checkpoint() -> None:
    """Weights, optimizer, schedule and order of a checkpoint, up to the same end."""
    assert "going on from checkpoint-6" in train("stopped").stderr
    metrics = json.loads(Path("stopped/metrics.json").read_text("utf-8"))
    assert [entry["step"] for entry in metrics["history"]] == [6, 12, 18]
    assert metrics["history"][0] == EXPECTED["history"][0]
    for now, before in zip(metrics["history"], EXPECTED["history"], strict=True):
        assert now["loss"] == pytest.approx(before["loss"], abs=1e-3)
    split = json.loads(Path("stopped/split.json").read_bytes())
    assert split.pop("ties").keys() == split["groups"].keys()
    assert split == json.loads((WRITTEN / "stopped/split.json").read_bytes())
    assert RewardScorer.from_pretrained("stopped/best", device="cpu").score("", "因为").reward
