"""Baselines learn what they may learn, and nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest

from reward_model.measure.evaluation.baselines import (
    PENALTIES,
    WORDS,
    MeasuredTexts,
    length_only,
    majority,
    predict_all,
    tfidf,
)
from reward_model.records import IGNORE
from reward_model.stats.levels import expected_levels

K = 5


def samples(
    texts: list[str], labels: list[list[int]], groups: list[str] | None = None
) -> MeasuredTexts:
    lengths = [len(text) for text in texts]
    groups = groups or [f"g{i}" for i in range(len(texts))]
    return MeasuredTexts(texts, lengths, [n // 3 for n in lengths], np.array(labels), groups)


def read(train: MeasuredTexts, test: MeasuredTexts, power: float = 0.0) -> np.ndarray:
    names = [f"d{j}" for j in range(train.labels.shape[1])]
    found, _ = tfidf(train, test, names, K, power)
    assert found is not None
    return found


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
        ("маржа выросла из-за структуры", "маржа немного поднялась"),
        ("マージンは構成により改善", "マージンは少し上昇"),
        ("الهامش ارتفع بسبب المزيج", "الهامش زاد قليلا"),
    ],
)
def test_tfidf_reads_every_script(good: str, bad: str) -> None:
    texts = [f"{good if i % 2 else bad} {i}" for i in range(60)]
    train = samples(texts, [[i % 2 * 3, IGNORE] for i in range(60)])
    chances = read(train, samples([good, bad], [[0, 0]] * 2))
    assert chances[:, 0].argmax(-1).tolist() == [3, 0]
    assert chances[:, 1] == pytest.approx(np.full((2, K), 0.2))


def test_rare_levels_weigh_as_in_the_training_of_the_model() -> None:
    """Of texts that say nothing, one in ten is on level 0: its chance, or an even one."""
    train = samples(["same words"] * 200, [[4 if i % 10 else 0] for i in range(200)])
    asked = samples(["same words"], [[0]])
    alike, root, balanced = (read(train, asked, power)[0, 0, 0] for power in (0.0, 0.5, 1.0))
    assert alike == pytest.approx(0.1, abs=0.01)
    assert root == pytest.approx(0.25, abs=0.01)
    assert balanced == pytest.approx(0.5, abs=0.01)


def test_c_is_chosen_on_groups_left_out() -> None:
    """The name of a company tells its level in training and nothing of another company: what is
    chosen is what carries over, and rows of one group never stand on both sides."""
    rng = np.random.default_rng(1)
    texts, labels, groups = [], [], []
    for g in range(30):
        for _ in range(6):
            level = int(rng.integers(0, K))
            told = " ".join(["gut"] * level + ["schlecht"] * (4 - level))
            texts.append(f"firma{g} {told} " + " ".join(f"x{rng.integers(500)}" for _ in range(8)))
            labels.append([level])
            groups.append(f"g{g}")
    train = samples(texts, labels, groups)
    found, notes = tfidf(train, train, ["depth"], K)
    assert found is not None
    assert notes[0].startswith("C of TF-IDF by grouped cross-validation on QWK: depth ")
    assert float(notes[0].rsplit(" ", 1)[1]) in PENALTIES
    few = samples(texts, labels, [f"g{i % 3}" for i in range(len(texts))])
    assert "too few to choose one on" in tfidf(few, few, ["depth"], K)[1][0]


def test_what_cannot_be_fitted_is_said_and_left_out() -> None:
    marks = samples(["!", "?"], [[0], [1]])
    fitted = predict_all(marks, marks, names=["depth"], classes=K)
    assert set(fitted.chances) == {"majority", "length"}
    assert "TF-IDF cannot be fitted" in fitted.notes[0]
    train = samples([f"text {i}" for i in range(30)], [[4, IGNORE, i % 2] for i in range(30)])
    notes = predict_all(train, train, names=["a", "b", "c"], classes=K).notes
    assert any(note.startswith("a: only level 4 in the training texts") for note in notes)
    assert any(note.startswith("b: no label in the training texts") for note in notes)
    assert not any(note.startswith("c: only") for note in notes)


def test_every_baseline_gives_distributions_whatever_the_labels() -> None:
    constant = [[2, IGNORE, i % K] for i in range(30)]
    train = samples([f"text {i} 数据 {'long ' * (i % 7)}" for i in range(30)], constant)
    test = samples(["", "text", "unseen words only"], [[2, 1, 0]] * 3)
    for name, chances in predict_all(train, test, names="abc", classes=K).chances.items():
        assert chances.shape == (3, 3, K), name
        assert np.allclose(chances.sum(-1), 1.0), name
        assert (chances >= 0).all(), name


def test_same_seed_same_numbers() -> None:
    train = samples([f"word{i % 5} report {i}" for i in range(50)], [[i % K] for i in range(50)])
    one, two = (predict_all(train, train, names="a", classes=K, seed=1).chances for _ in range(2))
    assert all((one[name] == two[name]).all() for name in one)


def test_words_stay_whole_in_scripts_that_have_them() -> None:
    text = "Überschuß naïve café 12,5 % Выручка выросла हिन्दी ราคา snake_case"
    assert re.findall(WORDS, text) == [
        "Überschuß", "naïve", "café", "12,5", "Выручка", "выросла", "हिन्दी",
        *"ราคา", "snake", "case",
    ]  # fmt: skip


def test_numbers_stay_whole_and_chinese_splits_by_character() -> None:
    assert re.findall(WORDS, "净利率14.7%, ROE up 1,200") == [
        "净", "利", "率", "14.7%", "ROE", "up", "1,200",
    ]  # fmt: skip
