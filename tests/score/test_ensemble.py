"""Several models as one scorer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import save_decoder, save_encoder

from reward_model import EnsembleScorer, RewardScorer, load_rubric
from reward_model.records import UserError

TEXTS = ["毛利率提升", "Margins rose on mix. " * 9, "ok", "净利润 12.5 亿元。"]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("ensemble")
    return [save_encoder(root / "a"), save_decoder(root / "b"), save_encoder(root / "c", seed=1)]


@pytest.fixture(scope="session")
def members(folders: list[Path]) -> list[RewardScorer]:
    return [RewardScorer.from_pretrained(folder) for folder in folders]


def test_the_mean_is_that_of_the_distributions(
    folders: list[Path], members: list[RewardScorer]
) -> None:
    together = EnsembleScorer.from_pretrained(folders)
    for text in TEXTS:
        p, each = together.score("q", text), [member.score("q", text) for member in members]
        assert p.reward == pytest.approx(np.mean([one.reward for one in each]), abs=1e-6)
        assert p.spread == pytest.approx(np.std([one.reward for one in each]), abs=1e-6)
        assert p.spread > 0
        for name in together.dimensions:
            levels = [one.levels[name] for one in each]
            assert p.levels[name] == pytest.approx(np.mean(levels), abs=1e-6)
            assert p.level_spread is not None
            assert p.level_spread[name] == pytest.approx(np.std(levels), abs=1e-6)
            # Disagreement counts: variance within and between members.
            within = np.mean([one.uncertainty[name] ** 2 for one in each])
            assert p.uncertainty[name] ** 2 == pytest.approx(within + np.var(levels), abs=1e-6)
        assert sum(p.probabilities["depth"]) == pytest.approx(1)


def test_the_minimum_is_the_score_of_the_most_critical_member(members: list[RewardScorer]) -> None:
    together = EnsembleScorer(members, "minimum")
    for text, p in zip(TEXTS, together.score_batch(["q"] * 4, TEXTS), strict=True):
        each = [member.score("q", text) for member in members]
        lowest = min(each, key=lambda one: one.reward or 0)
        assert p.reward == pytest.approx(lowest.reward, abs=1e-6)
        assert p.levels == pytest.approx(lowest.levels, abs=1e-5)


def test_weights_and_risk_of_a_call(members: list[RewardScorer]) -> None:
    together = EnsembleScorer(members)
    p = together.score("q", "text", weights={"depth": 1.0}, risk=0.5)
    expected = max(0.0, p.levels["depth"] - 0.5 * p.uncertainty["depth"]) / 4
    assert p.reward == pytest.approx(expected)
    assert together.weights == members[0].weights


def test_no_opinion_of_one_is_none_of_all_and_truncation_is_flagged(
    members: list[RewardScorer],
) -> None:
    empty, long = EnsembleScorer(members).score_batch(["q", "q"], [" ", "y" * 999])
    assert (empty.reward, empty.reason, empty.spread) == (None, "the response is empty", None)
    assert long.response_truncated


def test_one_model_says_nothing_of_spread(members: list[RewardScorer]) -> None:
    assert not {"spread", "level_spread"} & set(members[0].score("q", "text").to_json())
    assert EnsembleScorer(members).score("q", "text").to_json()["level_spread"]


def test_what_cannot_be_joined_is_refused(
    folders: list[Path], members: list[RewardScorer], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="1 models in an ensemble; expected at least two"):
        EnsembleScorer(members[:1])
    with pytest.raises(UserError, match="how 'median'; expected mean or minimum"):
        EnsembleScorer(members, "median")  # type: ignore[arg-type]
    other = save_encoder(tmp_path / "other", rubric=load_rubric("helpsteer"))
    with pytest.raises(UserError, match="models of different rubrics: financial_report@"):
        EnsembleScorer.from_pretrained([folders[0], other])
    careful = RewardScorer.from_pretrained(folders[0], risk=1.0)
    with pytest.raises(UserError, match="different weights or risk"):
        EnsembleScorer([members[0], careful])
