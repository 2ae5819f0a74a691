"""One formula of the reward: by hand, in torch, and as the scorer says it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import save_encoder

from reward_model import RewardScorer
from reward_model.model.losses import expected_levels as torch_levels
from reward_model.stats.levels import expected_levels, level_sd, reward_of, rewards


@given(st.integers(2, 10), st.integers(1, 4), st.integers(0, 10_000))
def test_a_distribution_is_counted_as_by_hand(classes: int, heads: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(classes), size=(3, heads))
    weights = rng.uniform(0.1, 5, heads)
    levels = np.array([[sum(k * p for k, p in enumerate(head)) for head in row] for row in chances])
    assert expected_levels(chances) == pytest.approx(levels)
    logits = torch.from_numpy(np.log(chances))
    assert torch_levels(logits).numpy() == pytest.approx(levels, abs=1e-5)
    spread = [[np.sqrt(np.cov(range(classes), aweights=p, ddof=0)) for p in row] for row in chances]
    assert level_sd(chances) == pytest.approx(np.array(spread), abs=1e-6)
    by_hand = np.average(levels, axis=1, weights=weights) / (classes - 1)
    assert rewards(chances, weights) == pytest.approx(by_hand)


def test_a_reward_stays_between_its_ends() -> None:
    """Risk may take a level below 0: it counts as 0, and does not eat up another dimension."""
    assert reward_of(np.array([-2.0, 4.0]), [1, 1], 4) == 0.5
    assert reward_of(np.array([4.0, 4.0, 4.0]), [0.1, 0.2, 0.7], 4) <= 1.0


def test_the_scorer_says_what_the_formula_says(tmp_path: Path) -> None:
    scorer = RewardScorer.from_pretrained(save_encoder(tmp_path))
    weights = {"depth": 3.0, "accuracy": 1.0}
    score = scorer.score("q", "Margins rose.", weights=weights, risk=0.5)
    chances = np.array([score.probabilities[name] for name in scorer.dimensions])
    careful = expected_levels(chances) - 0.5 * level_sd(chances)
    shares = [weights.get(name, 0.0) for name in scorer.dimensions]
    assert score.reward == pytest.approx(float(reward_of(careful, shares, 4)), abs=1e-12)
