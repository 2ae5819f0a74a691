"""Texts stay on the disk: views read what they need, memory does not grow with the texts."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored_sets
import toy

from reward_model.data.dataset import MultiDimRewardDataset, Sample, label_array, pair_indices, take
from reward_model.data.reading import read_samples
from reward_model.data.split import fingerprint
from reward_model.records import Message, UserError
from reward_model.rubrics import load_rubric

RUBRIC = load_rubric("financial_report")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = scored_sets.scored_set(groups=5)
    rows[3]["prompt"] = [{"role": "user", "content": "为什么？"}]
    path = tmp_path_factory.mktemp("scored") / "scored.jsonl"
    body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    # A byte order mark, blank lines and records without scores move the places of the lines.
    bare = '{"prompt": "p", "chosen": "a", "rejected": "b"}\n'
    path.write_bytes(b"\xef\xbb\xbf" + ("\n" + bare + "\n" + body).encode())
    return path


def held(samples: Any) -> list[Sample]:
    """The same samples with their texts in memory."""
    return [dataclasses.replace(sample) for sample in samples]


def test_a_view_is_what_the_line_says(scored: Path) -> None:
    samples, bare = read_samples(scored, RUBRIC)
    rows = [json.loads(line) for line in scored.read_text("utf-8-sig").splitlines()[3:]]
    assert (bare, len(samples)) == (1, 2 * len(rows))
    for i in (len(samples) - 1, 0, 7, 30):
        row, side = rows[i // 2], ("chosen", "rejected")[i % 2]
        view = samples[i]
        assert view.response == row[side]
        assert (view.side, view.pair, view.group) == (side, row["id"], row["metadata"]["company"])
        assert view.labels == tuple(row["scores"][side].values())
        assert view.neutral == (row["metadata"]["kind"] == "neutral")
        defect = row["metadata"]["defect_metadata"]
        assert view.degradation == defect["degradation_type"]
        assert view.severity == defect.get("severity")
        assert (view.language, view.field, view.generator) == ("zh", None, "alpha:writer")
        assert view.metadata.company == row["metadata"]["company"]
    assert samples[6].prompt == (Message(role="user", content="为什么？"),)


def test_lists_and_files_give_the_same(scored: Path) -> None:
    samples, _ = read_samples(scored, RUBRIC)
    listed = held(samples)
    assert listed == list(samples)
    assert pickle.loads(pickle.dumps(samples[3])) == samples[3]
    assert fingerprint(listed) == fingerprint(samples)
    assert np.array_equal(label_array(listed), label_array(samples))
    for neutral in (False, True):
        pairs = pair_indices(samples, neutral=neutral)
        assert pairs == pair_indices(listed, neutral=neutral)
        assert len(pairs) == (5 if neutral else 25)
    rows = [9, 2, 3, 40]
    assert list(take(samples, rows)) == take(listed, rows)
    assert pair_indices(take(samples, rows)) == pair_indices(take(listed, rows)) == [(1, 2)]
    assert list(take(samples, np.array([s.side == "chosen" for s in listed]))) == listed[::2]
    assert list(samples[5:9]) == listed[5:9]
    assert len(take(samples, [])) == 0


def test_asking_for_labels_and_groups_reads_no_text(scored: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy.jsonl"
    path.write_bytes(scored.read_bytes())
    samples, _ = read_samples(path, RUBRIC)
    before = fingerprint(samples)
    path.unlink()
    assert fingerprint(samples) == before
    assert len({(s.group, s.side, s.degradation) for s in samples}) > 10
    with pytest.raises(UserError, match="no such file"):
        _ = samples[0].prompt


def test_a_file_that_changes_under_a_run_is_noticed(tmp_path: Path) -> None:
    path = toy.write(tmp_path / "a.jsonl", toy.pairs(RUBRIC, 4))
    samples, _ = read_samples(path, RUBRIC)
    toy.write(path, toy.pairs(RUBRIC, 5, seed=1))
    with pytest.raises(UserError, match="changed after it was read"):
        _ = samples[0].response


def test_soft_labels_are_the_shares_of_the_draws(tmp_path: Path) -> None:
    rows = toy.pairs(RUBRIC, 2)
    levels: dict[str, Any] = {"depth": 3, "professionalism": None, "accuracy": 4}
    rows[0]["scores"] = {
        "chosen": levels,
        "rejected": {"depth": 1},
        "judge": {
            "levels": {
                "a": {"chosen": {"depth": [3, 4, None, 3], "professionalism": [None, None]}},
                "b": {"chosen": {"depth": [2]}},
            }
        },
    }
    path = toy.write(tmp_path / "a.jsonl", rows)
    samples, _ = read_samples(path, RUBRIC, soft=True)
    soft = np.array([sample.soft for sample in samples])
    assert soft.shape == (4, 3, 5)
    # Two judges count alike: half of (0, 0, 0, 2/3, 1/3), half of (0, 0, 1, 0, 0).
    assert soft[0, 0] == pytest.approx([0, 0, 1 / 2, 1 / 3, 1 / 6])
    assert soft[0, 1].tolist() == [0] * 5
    assert soft[0, 2].tolist() == [0, 0, 0, 0, 1]
    assert soft[1].tolist() == [[0, 1, 0, 0, 0], [0] * 5, [0] * 5]
    assert read_samples(path, RUBRIC)[0][0].soft is None
    dataset = MultiDimRewardDataset.from_file(path, soft=True)
    assert dataset[2]["soft_labels"][0][rows[1]["scores"]["chosen"]["depth"]] == 1.0
    assert "soft_labels" not in MultiDimRewardDataset.from_file(path)[0]
    for wrong, words in (([5], "level 5 in scores.judge.levels"), ("34", "of another shape")):
        rows[0]["scores"]["judge"]["levels"]["b"]["chosen"]["depth"] = wrong
        toy.write(path, rows)
        with pytest.raises(UserError, match=words) as error:
            read_samples(path, RUBRIC, soft=True)
        assert error.value.line == 1


MEASURE = """
import json, resource, sys
from pathlib import Path
from reward_model.data.dataset import MultiDimRewardDataset, read_samples
from reward_model.data.tokens.inputs import InputBuilder
from reward_model.rubrics import load_rubric
from reward_model.data.split import shared_data_lines, split_groups
from reward_model.train.tiny import train_tokenizer

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def run(count):
    path = Path(sys.argv[1]) / f"{count}.jsonl"
    with path.open("w") as file:
        for i in range(count):
            scores = {n: i % 5 for n in ("depth", "professionalism", "accuracy")}
            row = {"id": f"pair-{i:08d}", "prompt": f"figures {i:06d} " * 800,
                   "chosen": f"rose {i} " * 40, "rejected": f"fell {i} " * 40,
                   "metadata": {"prompt_id": f"c{i}", "field": "x"},
                   "scores": {"chosen": scores, "rejected": scores}}
            file.write(json.dumps(row) + "\\n")
    samples, _ = read_samples(path, rubric)
    split = split_groups(samples, {"train": 0.8, "validation": 0.2}, 0)
    shared_data_lines(split.select(samples, "train"), split.select(samples, "validation"))
    dataset = MultiDimRewardDataset(samples, rubric, builder, cache=Path(sys.argv[1]) / "cache")
    assert len(dataset.lengths) == 2 * count and dataset[count]["input_ids"]
    return dataset, split

rubric = load_rubric("financial_report")
builder = InputBuilder(train_tokenizer(["rose fell 1 2"] * 5, 300, 64), 64, max_prompt_length=0)
run(500)
small = peak()
kept = run(3500)
print(peak() - small)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "3500.jsonl").stat().st_size
    assert text > 40e6
    # 3,000 pairs more: their texts are 40 MB; what is kept of a pair is some hundred bytes.
    assert int(done.stdout) < 8e6
