"""Groups dealt to parts: shares, strata, levels in every part, kinds that are never trained on."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import networkx
import numpy as np
import pytest
import scored_sets
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_model.data.dataset import Sample
from reward_model.data.held_out import choose
from reward_model.data.reading import read_samples
from reward_model.data.sources import find_source
from reward_model.data.split import Part, Split, parse_hold_out, split_groups
from reward_model.records import IGNORE, Metadata, UserError, read_jsonl
from reward_model.rubrics import load_rubric
from reward_model.train.config import TrainConfig
from reward_model.train.prepare import divide

RUBRIC = load_rubric("financial_report")
SHARES: dict[Part, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}


def sample(group: str, *labels: int) -> Sample:
    key = f"{group}-{labels}"
    return Sample(f"prompt of {group}", f"{group} {labels}", labels, group, "single", key)


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


def tied(prompt_id: str, company: str | None, prompt: str, n: int = 0) -> Sample:
    metadata = Metadata(prompt_id=prompt_id, company=company)
    return Sample(prompt, f"r{n}", (n % 5,), prompt_id, "single", f"k{n}", metadata=metadata)


@given(st.lists(st.tuples(*[st.integers(0, 12)] * 3), min_size=6, max_size=60), st.integers(0, 99))
@settings(max_examples=60)
def test_no_company_no_prompt_and_no_id_is_in_two_parts(
    rows: list[tuple[int, int, int]], seed: int
) -> None:
    """Against networkx: the parts are unions of connected components."""
    samples = [
        tied(f"id{i}", f"c{c}" if c else None, f"p{p}" if p else "", n)
        for n, (i, c, p) in enumerate(rows)
    ]
    graph = networkx.Graph()
    for s in samples:
        graph.add_node(s.group)
        for tie in (s.company and f"company {s.company}", s.prompt and f"prompt {s.prompt}"):
            if tie:
                graph.add_edge(s.group, tie)
    components = list(networkx.connected_components(graph))
    if len(components) < 3:
        with pytest.raises(UserError, match="that share a prompt or a company"):
            split_groups(samples, SHARES, seed)
        return
    split = split_groups(samples, SHARES, seed)
    part_of = {group: part for part, groups in split.groups.items() for group in groups}
    for component in components:
        assert len({part_of[name] for name in component if name in part_of}) == 1
    assert set(part_of) == {s.group for s in samples}
    assert split.parts_of(samples) == [part_of[s.group] for s in samples]
    again = Split.model_validate(split.model_dump(mode="json"))
    # A new id for a company or a prompt that is known stays in their part.
    for s in samples:
        if s.company or s.prompt:
            assert again.parts_of([replace(s, group="new")]) == [part_of[s.group]]
    assert again.parts_of([tied("new", "new", "new")]) == [None]


def test_views_of_a_file_know_company_and_prompt(tmp_path: Path) -> None:
    path = scored_sets.write(tmp_path / "a.jsonl", scored_sets.scored_set(groups=3))
    samples, _ = read_samples(path, RUBRIC)
    for view in samples:
        whole = samples.columns.read(int(view._row[1]))
        assert (view.company, view.prompt_key) == (whole.company, whole.prompt_key)
        assert view.company is not None
        assert view.company.startswith("公司")


def test_a_validation_file_never_holds_test_groups(tmp_path: Path) -> None:
    rows = scored_sets.scored_set(groups=12)
    path = scored_sets.write(tmp_path / "a.jsonl", rows)
    fresh = scored_sets.scored_set(groups=2, seed=9)
    for row in fresh:
        row["metadata"] |= {"prompt_id": "fresh-" + row["metadata"]["company"], "company": "fresh"}
    renamed = [{**row, "metadata": {**row["metadata"], "prompt_id": "another"}} for row in rows]
    config = TrainConfig(
        scored=path, base_model="tiny", output_dir=tmp_path / "out", test_share=0.3,
        eval_file=scored_sets.write(tmp_path / "b.jsonl", [*renamed, *fresh]),
    )  # fmt: skip
    texts = divide(config)
    tested = {s.company for s in texts.parts["test"]}
    assert tested
    assert not tested & {s.company for s in texts.parts["validation"]}
    assert any("left out of validation" in words for words in texts.remarks)
    only = [row for row in renamed if row["metadata"]["company"] in tested]
    again = config.model_copy(update={"eval_file": scored_sets.write(tmp_path / "c.jsonl", only)})
    with pytest.raises(UserError, match="no text that may be validated on"):
        divide(again)


def test_the_split_has_a_seed_of_its_own(tmp_path: Path) -> None:
    path = scored_sets.write(tmp_path / "a.jsonl", scored_sets.scored_set(groups=20))

    def groups(**seeds: int) -> object:
        config = TrainConfig(
            scored=path, base_model="tiny", output_dir=tmp_path / "out", test_share=0.2, **seeds
        )
        return divide(config).split.groups

    assert groups(seed=0) == groups(seed=5, split_seed=0) != groups(seed=5)


def test_the_split_of_a_saved_data_set_is_part_of_its_cache_key(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    parts = {
        name: Dataset.from_list([{"prompt": "p", "response": f"{name} {i}"} for i in range(3)])
        for name in ("train", "test")
    }
    DatasetDict(parts).save_to_disk(tmp_path / "saved")
    for name in ("train", "test", "train"):
        source = find_source(tmp_path / "saved", split=name, cache_dir=str(tmp_path / "cache"))
        assert [line.value["response"] for line in read_jsonl(source.path)] == [
            f"{name} {i}" for i in range(3)
        ]
