"""Baselines learn what they may learn, and nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest

from reward_model.measure.evaluation.baselines import (
    WORDS,
    Samples,
    length_only,
    majority,
    predict_all,
    tfidf,
)
from reward_model.records import IGNORE
from reward_model.stats.levels import expected_levels

K = 5


def samples(texts: list[str], labels: list[list[int]]) -> Samples:
    lengths = [len(text) for text in texts]
    return Samples(texts, lengths, [n // 3 for n in lengths], np.array(labels))


def test_majority_is_the_training_frequencies() -> None:
    train = samples(["a"] * 4, [[4, 0], [4, IGNORE], [1, 0], [4, 2]])
    chances = majority(train, samples(["b", "c"], [[0, 0], [0, 0]]), K)
    assert chances[0, 0].tolist() == [0, 0.25, 0, 0, 0.75]
    assert chances[1, 1] == pytest.approx([2 / 3, 0, 1 / 3, 0, 0])


def test_length_only_rises_with_length_where_length_decides() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 4000, size=200)
    train = samples(["x" * n for n in lengths], [[min(4, int(n) // 800)] for n in lengths])
    asked = samples(["y" * n for n in (50, 900, 1800, 2700, 3900)], [[0]] * 5)
    chances = length_only(train, asked, K)
    levels = expected_levels(chances[:, 0])
    assert (np.diff(levels) > 0.5).all()
    assert chances[:, 0].argmax(-1).tolist() == [0, 1, 2, 3, 4]


def test_length_only_does_not_read() -> None:
    train = samples(
        ["good" if i % 2 else "evil" for i in range(40)], [[i % 2 * 4] for i in range(40)]
    )
    chances = length_only(train, samples(["good", "evil"], [[0]] * 2), K)
    assert np.allclose(chances[0], chances[1])


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("margin driven by price mix", "margin went up a bit"),
        ("毛利率由结构优化驱动", "毛利率有所上升"),
    ],
)
def test_tfidf_reads_both_languages(good: str, bad: str) -> None:
    texts = [f"{good if i % 2 else bad} {i}" for i in range(60)]
    train = samples(texts, [[i % 2 * 3, IGNORE] for i in range(60)])
    chances = tfidf(train, samples([good, bad], [[0, 0]] * 2), K)
    assert chances[:, 0].argmax(-1).tolist() == [3, 0]
    assert chances[:, 1] == pytest.approx(np.full((2, K), 0.2))


def test_every_baseline_gives_distributions_whatever_the_labels() -> None:
    constant = [[2, IGNORE, i % K] for i in range(30)]
    train = samples([f"text {i} 数据 {'long ' * (i % 7)}" for i in range(30)], constant)
    test = samples(["", "text", "unseen words only"], [[2, 1, 0]] * 3)
    for name, chances in predict_all(train, test, classes=K).items():
        assert chances.shape == (3, 3, K), name
        assert np.allclose(chances.sum(-1), 1.0), name
        assert (chances >= 0).all(), name
    texts = samples(["!", "?"], [[0], [1]])
    assert np.allclose(tfidf(texts, texts, K), majority(texts, texts, K))


def test_same_seed_same_numbers() -> None:
    train = samples([f"word{i % 5} report {i}" for i in range(50)], [[i % K] for i in range(50)])
    one, two = (predict_all(train, train, classes=K, seed=1) for _ in range(2))
    assert all((one[name] == two[name]).all() for name in one)


def test_numbers_stay_whole_and_chinese_splits_by_character() -> None:
    assert re.findall(WORDS, "净利率14.7%, ROE up 1,200") == [
        "净", "利", "率", "14.7%", "ROE", "up", "1,200",
    ]  # fmt: skip
