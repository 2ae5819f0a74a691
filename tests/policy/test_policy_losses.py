"""Losses against computations of their own, written from the papers in float64."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor

from reward_model.policy.training import losses


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def draws(seed: int, low: float = -6, high: float = -0.05) -> list[float]:
    rng = random.Random(seed)
    return [rng.uniform(low, high) for _ in range(7)]


def tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(3))
def test_orpo_is_the_papers(seed: int) -> None:
    chosen, rejected = draws(seed), draws(seed + 50)
    expected = []
    for good, bad in zip(chosen, rejected, strict=True):
        odds = [math.exp(x) / (1 - math.exp(x)) for x in (good, bad)]
        expected.append(-good - 0.3 * math.log(sigmoid(math.log(odds[0] / odds[1]))))
    found = losses.orpo(tensor(chosen), tensor(rejected), beta=0.3)
    torch.testing.assert_close(found, tensor(expected), atol=1e-9, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_simpo_is_the_papers(seed: int) -> None:
    chosen, rejected = draws(seed), draws(seed + 50)
    expected = [
        -math.log(sigmoid(2.5 * good - 2.5 * bad - 1.2))
        for good, bad in zip(chosen, rejected, strict=True)
    ]
    found = losses.simpo(tensor(chosen), tensor(rejected), beta=2.5, gamma=1.2)
    torch.testing.assert_close(found, tensor(expected), atol=1e-9, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_pref_po_is_its_formula(seed: int) -> None:
    rng = random.Random(seed)
    four = [[rng.uniform(-14, 14) for _ in range(9)] for _ in range(4)]
    expected = []
    for own, told, before, told_before in zip(*four, strict=True):

        def clamp(x: float) -> float:
            return max(-10.0, min(10.0, x))

        def kl(a: float, b: float) -> float:
            p, q = sigmoid(a), sigmoid(b)
            return p * math.log(p / q) + sigmoid(-a) * math.log(sigmoid(-a) / sigmoid(-b))

        expected.append(
            -math.log(sigmoid(0.5 * clamp(own)))
            + 0.2 * max(0.0, clamp(told) - clamp(own))
            + 0.1 * (kl(own, before) + kl(told, told_before)) / 2
        )
    found = losses.pref_po(*map(tensor, four), beta=0.5, alpha=0.2)
    torch.testing.assert_close(found, tensor(expected), atol=1e-8, rtol=0)


def test_the_pull_moves_the_plain_side_alone() -> None:
    plain, guided = (torch.tensor([x], requires_grad=True) for x in (0.5, 2.0))
    still = torch.tensor([0.5])
    losses.pref_po(plain, guided, still, torch.tensor([2.0]), beta=0.0, alpha=1.0).sum().backward()
    assert plain.grad is not None
    assert guided.grad is not None
    assert plain.grad.item() == pytest.approx(-1.0)
    assert guided.grad.item() == pytest.approx(0.0, abs=1e-6)  # the KL alone, at its lowest


def test_certain_answers_stay_finite() -> None:
    sure = torch.zeros(1, requires_grad=True)
    loss = losses.orpo(sure, torch.tensor([-1.0]), beta=0.1).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(sure.grad).all()  # type: ignore[arg-type]
