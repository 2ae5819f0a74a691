"""Groups dealt to parts: shares, strata, levels in every part, kinds that are never trained on."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import scored_sets
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_model.data.dataset import Sample
from reward_model.data.held_out import choose
from reward_model.data.reading import read_samples
from reward_model.data.split import Part, Split, parse_hold_out, split_groups
from reward_model.records import IGNORE, UserError
from reward_model.rubrics import load_rubric
from reward_model.train.config import TrainConfig
from reward_model.train.prepare import divide

RUBRIC = load_rubric("financial_report")
SHARES: dict[Part, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}


def sample(group: str, *labels: int) -> Sample:
    return Sample("p", f"{group} {labels}", labels, group, "single", f"{group}-{labels}")


def levels_of(samples: list[Sample], split: Split) -> list[set[tuple[int, int]]]:
    return [
        {
            (d, label)
            for s in split.select(samples, part)
            for d, label in enumerate(s.labels)
            if label != IGNORE
        }
        for part in SHARES
    ]


@given(st.integers(0, 1000), st.integers(3, 6))
@settings(max_examples=25, deadline=None)
def test_a_rare_level_lands_in_every_part(seed: int, rare: int) -> None:
    rng = random.Random(seed)
    samples = []
    for g in range(60):
        level = 0 if g < rare else rng.choice((2, 3, 3, 4))
        samples += [sample(f"g{g}", level, 3), sample(f"g{g}", rng.choice((3, 4)), 3)]
    split = split_groups(samples, SHARES, seed)
    assert all(
        levels == {(0, 0), (0, 2), (0, 3), (0, 4), (1, 3)} for levels in levels_of(samples, split)
    )
    sizes = [len(split.groups[part]) for part in SHARES]
    assert sizes == pytest.approx([42, 9, 9], abs=1)
    # The order of the rows plays no part.
    turned = split_groups(samples[::-1], SHARES, seed)
    assert turned.groups == split.groups


def test_a_level_of_one_group_cannot_be_everywhere_and_parts_stay_whole() -> None:
    samples = [sample(f"g{g}", 0 if g == 5 else 3) for g in range(20)]
    split = split_groups(samples, SHARES, 0)
    assert sum((0, 0) in levels for levels in levels_of(samples, split)) == 1
    assert sum(len(groups) for groups in split.groups.values()) == 20


def test_good_and_bad_groups_are_in_every_part() -> None:
    rng = random.Random(0)
    samples = [sample(f"g{g}", rng.choice((0, 1, 2, 3, 4)), rng.choice((0, 4))) for g in range(200)]
    whole = np.mean([s.labels for s in samples])
    off = []
    for seed in range(20):
        split = split_groups(samples, SHARES, seed)
        off += [np.mean([s.labels for s in split.select(samples, p)]) - whole for p in SHARES]
    by_chance = []
    for seed in range(20):
        picked = random.Random(seed).sample(samples, 30)
        by_chance.append(np.mean([s.labels for s in picked]) - whole)
    assert np.std(off) < 0.6 * np.std(by_chance)


def test_all_labels_masked_is_no_hindrance() -> None:
    samples = [sample(f"g{g}", IGNORE, IGNORE) for g in range(6)]
    assert sum(map(len, split_groups(samples, SHARES, 0).groups.values())) == 6


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scored") / "a.jsonl"
    return scored_sets.write(path, scored_sets.scored_set(groups=20))


def test_a_kind_held_out_is_never_trained_on(scored: Path, tmp_path: Path) -> None:
    samples, _ = read_samples(scored, RUBRIC)
    held = parse_hold_out(["degradation=generic_wording"])
    split = split_groups(samples, SHARES, 0, held)
    kinds = {part: {s.degradation for s in split.select(samples, part)} for part in SHARES}
    assert "generic_wording" not in kinds["train"] | kinds["validation"]
    assert "generic_wording" in kinds["test"]
    assert kinds["train"] == kinds["test"] - {"generic_wording"}
    split.write(tmp_path)
    again = Split.model_validate_json((tmp_path / "split.json").read_bytes())
    assert again.hold_out == {"degradation": ["generic_wording"]}
    chosen = choose(samples, again)
    count = sum(s.degradation == "generic_wording" for s in chosen.test)
    assert f"degradation generic_wording was never trained on: {count} of" in " ".join(chosen.words)
    assert "generic_wording" not in {s.degradation for s in chosen.train}
    assert "generic_wording" not in {
        s.degradation for s in choose(samples, again, "validation").test
    }
    # A split of an older run knows nothing of it.
    old = json.loads((tmp_path / "split.json").read_text())
    del old["hold_out"]
    assert Split.model_validate(old).hold_out == {}


def test_a_rare_kind_that_is_held_out_is_in_the_test_part(scored: Path) -> None:
    samples, _ = read_samples(scored, RUBRIC)
    rows = [
        i
        for i, s in enumerate(samples)
        if s.degradation != "generic_wording" or s.group in {"公司003", "公司007", "公司011"}
    ]
    few = samples.take(rows)
    held = parse_hold_out(["degradation=generic_wording"])
    for seed in range(10):
        test = split_groups(few, SHARES, seed, held).select(few, "test")
        assert any(s.degradation == "generic_wording" for s in test)


def test_the_setting_reaches_training_texts(scored: Path) -> None:
    config = TrainConfig(scored=scored, hold_out=("degradation=shallow_depth", "language=en"))
    with pytest.raises(UserError, match=r"hold_out language=en; expected one of the file: zh"):
        divide(config)
    texts = divide(config.model_copy(update={"hold_out": ("degradation=shallow_depth",)}))
    for part in ("train", "validation"):
        assert "shallow_depth" not in {s.degradation for s in texts.parts[part]}
    assert "degradation=shallow_depth is never trained on" in " ".join(texts.remarks)
    own = config.model_copy(
        update={"hold_out": ("degradation=shallow_depth",), "eval_file": scored}
    )
    kinds = {s.degradation for s in divide(own).parts["validation"]}
    assert kinds
    assert "shallow_depth" not in kinds
    everywhere = divide(own)
    assert "groups of a.jsonl are trained on as well" in " ".join(everywhere.remarks)
    with pytest.raises(UserError, match="on every text"):
        divide(config.model_copy(update={"hold_out": ("language=zh",)}))


def test_groups_of_a_validation_file_count_as_validation(scored: Path, tmp_path: Path) -> None:
    rows = toy.pairs(load_rubric("financial_report"), 3)
    for i, row in enumerate(rows):
        row["metadata"]["prompt_id"] = f"new-{i}"
    other = toy.write(tmp_path / "other.jsonl", rows)
    texts = divide(TrainConfig(scored=scored, eval_file=other))
    assert texts.split.groups["validation"] == ["new-0", "new-1", "new-2"]
    held = choose(read_samples(other, texts.rubric)[0], texts.split)
    assert held.part == "validation"
    assert any("chosen on these validation texts" in words for words in held.words)


@pytest.mark.parametrize("text", ["generic_wording", "colour=red", "degradation="])
def test_a_wrong_hold_out_is_told(text: str) -> None:
    with pytest.raises(UserError, match="FACET=VALUE"):
        parse_hold_out([text])
