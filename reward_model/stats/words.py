"""How a number with its interval is said."""

from __future__ import annotations

from collections.abc import Sequence

from reward_model.stats.bootstrap import Estimate

FEWEST = 6
"""Groups below which no difference is called: five that all agree happen by chance once in 16."""


def verdict(difference: Estimate, groups: int) -> str:
    """`better`, `worse`, `unclear` or `unknown`: no claim that the interval does not carry."""
    if difference.value is None:
        return "unknown"
    low, high = difference.low, difference.high
    if low is None or high is None or groups < FEWEST:
        return "unclear"
    return "better" if low > 0 else "worse" if high < 0 else "unclear"


def groups_words(groups: int) -> str | None:
    """What the intervals of so few groups are worth, in words; None where nothing is amiss.

    The figures are those of `benchmarks/coverage.py`.
    """
    if groups == 1:
        return "1 group to draw from: no interval, so nothing here is known beyond this one"
    if groups < FEWEST:
        return (
            f"only {groups} groups to draw from: intervals go by Student's t, so they are wide, "
            "and no difference is called; where a few texts stand out they still miss the truth "
            "more often than once in 20"
        )
    if groups < 20:
        return (
            f"only {groups} groups to draw from: 95% intervals of so few hold the truth in some "
            "90 to 95% of cases"
        )
    return None


def joined(words: Sequence[str]) -> str:
    """A list as it is said.

    >>> joined(["depth"]), joined(["depth", "logic", "accuracy"])
    ('depth', 'depth, logic and accuracy')
    """
    return " and ".join([", ".join(words[:-1]), *words[-1:]] if len(words) > 1 else words)


LABELS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "kappa": "QWK",
    "kappa_expected": "QWK, expected level",
    "mae_expected": "MAE, expected level",
    "mae_argmax": "MAE, likeliest level",
    "pair_accuracy": "pair accuracy",
    "pair_ties": "pair ties",
    "ece": "ECE",
}
"""Names of the metrics in tables."""


SHORT = {
    "majority": "majority",
    "length": "length",
    "tfidf": "TF-IDF",
    "bradley_terry": "Bradley-Terry",
}
"""Names of the baselines in tables."""


def change(estimate: Estimate, decimals: int = 2) -> str:
    """A change with its interval in a few characters.

    >>> change(Estimate(0.314, 9, 0.2, 0.4282))
    '+0.31 [+0.20, +0.43]'
    >>> change(Estimate(None, 0))
    '–'
    """
    if estimate.value is None:
        return "–"
    text = f"{estimate.value:+.{decimals}f}"
    if estimate.low is not None:
        text += f" [{estimate.low:+.{decimals}f}, {estimate.high:+.{decimals}f}]"
    return text


def figure(estimate: Estimate, *, interval: bool = True) -> str:
    """An estimate in a few characters.

    >>> figure(Estimate(0.8125, 16, 0.75, 0.875))
    '0.812 [0.75, 0.88]'
    >>> figure(Estimate(None, 0, reason="no pairs"))
    '–'
    """
    if estimate.value is None:
        return "–"
    text = f"{estimate.value:.3f}"
    if interval and estimate.low is not None:
        text += f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return text
