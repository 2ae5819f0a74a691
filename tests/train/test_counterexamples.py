"""Copies of training texts that a reward must not fall for: their levels, and their count."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import toy

from reward_model.data.counterexamples import KINDS, counterexamples
from reward_model.data.reading import read_samples
from reward_model.model.familiarity import FILE
from reward_model.records import IGNORE, UserError, as_text
from reward_model.rubrics import load_rubric
from reward_model.train.config import resolve
from reward_model.train.prepare import prepare
from reward_model.train.run import train

RUBRIC = load_rubric("financial_report")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = toy.pairs(RUBRIC, 40)
    rows[3]["scores"]["chosen"]["depth"] = None
    return toy.write(tmp_path_factory.mktemp("toy") / "scored.jsonl", rows)


def test_copies_have_the_levels_they_deserve(scored: Path) -> None:
    samples, _ = read_samples(scored, RUBRIC, soft=True)
    made, counts = counterexamples(samples, 0.3, RUBRIC, 0)
    assert sum(counts.values()) == len(made) == 24
    assert counts == dict.fromkeys(KINDS, 8)
    texts = {as_text(sample.response): sample for sample in samples}
    by_key = {(sample.pair, sample.side): sample for sample in samples}
    for copy in made:
        pair, side, kind = copy.pair.rsplit(":", 2)
        sample = by_key[pair, side]
        assert copy.response not in texts
        assert (copy.side, copy.group, copy.prompt) == ("single", sample.group, sample.prompt)
        assert copy.soft is not None
        if kind == "another_layout":
            assert copy.labels == sample.labels
            continue
        assert copy.labels == tuple(IGNORE if label == IGNORE else 0 for label in sample.labels)
        for label, shares in zip(copy.labels, copy.soft, strict=True):
            assert shares == tuple(float(level == label) for level in range(5))
        if kind == "shuffled_words":
            words = [
                Counter(text.replace(".", " ").split()) for text in (copy.response, sample.response)
            ]
            assert words[0] == words[1]
    assert made == counterexamples(samples, 0.3, RUBRIC, 0)[0]
    assert made != counterexamples(samples, 0.3, RUBRIC, 1)[0]


def test_what_describes_is_not_labelled() -> None:
    rubric = load_rubric("helpsteer")
    rows = toy.pairs(rubric, 10)
    for row in rows:
        row["prompt"] = "q"
    from reward_model.data.sample import samples_of

    samples = [sample for row in rows for sample in samples_of(row, rubric, "x", 1)]
    made, _ = counterexamples(samples, 0.3, rubric, 0)
    worthless = [copy for copy in made if not copy.pair.endswith("another_layout")]
    assert {copy.labels for copy in worthless} == {(0, 0, 0, IGNORE, IGNORE)}


def test_a_run_trains_on_them_counts_them_and_knows_them_from_texts(
    scored: Path, tmp_path: Path
) -> None:
    flags = {"base_model": "tiny", "max_length": 64, "max_steps": 2, "counterexamples": 0.3}
    config = resolve(scored, tmp_path / "out", None, flags)
    run = prepare(config)
    plain = prepare(config.model_copy(update={"counterexamples": 0.0}))
    copies = sum(run.copies.values())
    assert copies == round(0.3 * len(plain.train))
    assert len(run.train) == len(plain.train) + copies
    assert [s.labels for s in run.originals.samples] == [s.labels for s in plain.train.samples]
    assert len(run.validation) == len(plain.validation)
    best = train(config)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["counterexamples"] == run.copies
    assert f"{copies} counterexamples beside {len(plain.train)}" in " ".join(metrics["remarks"])
    assert (best / FILE).exists()


def test_a_share_beyond_the_bound_is_refused(scored: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="counterexamples"):
        resolve(scored, tmp_path / "out", None, {"counterexamples": 0.5})
