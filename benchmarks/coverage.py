"""How often a 95% interval by group holds the truth, where groups are few.

uv run python benchmarks/coverage.py [--repeats 1000]

For every kind of number, sets of 3 to 50 groups are drawn from a population whose truth is known
(2 to 11 rows a group, rows of a group alike). Beside the package's intervals stand the plain 2.5th
and 97.5th percentiles of as many draws. One core, a few minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np

from reward_model.stats.bootstrap import Bootstrap, Estimand, Floats
from reward_model.stats.metrics import kappa_of, mean_of

GROUPS = (3, 5, 8, 10, 20, 50)
LEVELS = 5
RESAMPLES = 500
Rng = np.random.Generator
Population = Callable[[Rng, int], Floats]
"""Sums [groups, S] of freshly drawn groups."""


def sizes(rng: Rng, groups: int) -> Floats:
    return rng.integers(2, 12, groups).astype(np.float64)


def normal(rng: Rng, groups: int) -> Floats:
    """A mean of bell-shaped rows, a fifth of their variance between groups."""
    n = sizes(rng, groups)
    return np.stack([n * rng.normal(0, 0.5, groups) + rng.normal(0, np.sqrt(n)), n], axis=1)


def skewed(rng: Rng, groups: int) -> Floats:
    """A mean of rows with a long tail, as absolute errors have."""
    n = sizes(rng, groups)
    return np.stack([n * rng.exponential(0.5, groups) + rng.gamma(n), n], axis=1)


def share(right: float, rng: Rng, groups: int) -> Floats:
    """How many are right; two rows of one group correlate at 0.2."""
    n = sizes(rng, groups)
    by_group = rng.beta(4 * right, 4 * (1 - right), groups)
    return np.stack([rng.binomial(n.astype(int), by_group).astype(np.float64), n], axis=1)


def agreement(rng: Rng, groups: int) -> Floats:
    """Confusion tables of a predictor that is too high in some groups and too low in others."""
    out = np.zeros((groups, LEVELS**2))
    for g, n in enumerate(sizes(rng, groups).astype(int)):
        label = rng.integers(0, LEVELS, n)
        said = label + rng.normal(0, 0.7) + rng.normal(0, 0.7, n)
        guess = np.clip(np.round(said), 0, LEVELS - 1).astype(int)
        out[g] = np.bincount(label * LEVELS + guess, minlength=LEVELS**2)
    return out


def two_shares(rng: Rng, groups: int) -> Floats:
    """Two predictors on the same rows: right by the first, right by the second, rows."""
    one, other = share(0.85, rng, groups), share(0.7, rng, groups)
    return np.stack([one[:, 0] / one[:, 1], other[:, 0] / other[:, 1], np.ones(groups)], axis=1)


KINDS: dict[str, tuple[Population, bool]] = {
    "mean": (normal, False),
    "mean, long tail": (skewed, False),
    "share, 75% right": (partial(share, 0.75), True),
    "share, 95% right": (partial(share, 0.95), True),
    "quadratic weighted kappa": (agreement, False),
    "difference of two shares": (two_shares, False),
}


def number(kind: str) -> Callable[[Floats], Floats]:
    if kind == "quadratic weighted kappa":
        return kappa_of
    if kind == "difference of two shares":
        return lambda sums: np.asarray((sums[..., 0] - sums[..., 1]) / sums[..., 2])
    return mean_of


def held(kind: str, groups: int, repeats: int, seed: int) -> tuple[float, float, int]:
    """Share of intervals that hold the truth: the package's, plain percentiles; and of how many."""
    population, is_share = KINDS[kind]
    function = number(kind)
    truth = float(function(population(np.random.default_rng(1), 200_000).sum(axis=0)))
    rng = np.random.default_rng(seed)
    own, plain, count = 0, 0, 0
    even = np.full(groups, 1 / groups)
    for i in range(repeats):
        sums = population(rng, groups)
        bootstrap = Bootstrap([str(g) for g in range(groups)], resamples=RESAMPLES, seed=i)
        rows = (
            round(float(sums.sum())) if kind.startswith("quad") else round(float(sums[:, -1].sum()))
        )
        span = (0.0, 1.0) if is_share else (-np.inf, np.inf)
        found = bootstrap.estimate(Estimand(sums, function, rows, share=is_share, span=span))
        if found.low is None or found.high is None:
            continue
        draws = function(rng.multinomial(groups, even, size=RESAMPLES) @ sums)
        low, high = np.nanquantile(draws, [0.025, 0.975])
        own += found.low <= truth <= found.high
        plain += low <= truth <= high
        count += 1
    return own / count, plain / count, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(f"share of 95% intervals that hold the truth, {asked.repeats} sets each")
    print("(in brackets: the plain percentiles of as many draws)\n")
    print("| groups | " + " | ".join(map(str, GROUPS)) + " |")
    print("|---|" + "---|" * len(GROUPS))
    for kind in KINDS:
        cells = []
        for groups in GROUPS:
            own, plain, _ = held(kind, groups, asked.repeats, asked.seed)
            cells.append(f"{own:.1%} ({plain:.1%})")
        print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
