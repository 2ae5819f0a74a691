"""What a reward is made of: weights of dimensions, risk, how members of an ensemble are joined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import overload

from reward_model.records import UserError


def parse_weights(words: list[str]) -> dict[str, float] | None:
    """`["depth=2", "accuracy=1"]` as numbers; None where nothing is given.

    Raises:
        UserError: not a name and a number.

    >>> parse_weights(["depth=2", "accuracy=0.5"])
    {'depth': 2.0, 'accuracy': 0.5}
    """
    weights = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            raise UserError(f"--weight {word!r}", expected="DIMENSION=NUMBER: depth=2") from None
    return weights or None


def check_terms(
    how: str, risk: float, abstain: float | None = None, *, models: int | None = None
) -> None:
    """Look at `--how`, `--risk` and `--abstain` before a model is loaded; `models`: how many.

    Raises:
        UserError: one of them is wrong.
    """
    if how not in ("mean", "minimum"):
        raise UserError(f"--how {how}", expected="mean or minimum")
    if how != "mean" and models == 1:
        raise UserError(f"--how {how} with one model", expected="it with --with, of several")
    checked_risk(risk, "--risk")
    checked_abstain(abstain, "--abstain")


@overload
def checked_risk(risk: float, name: str = ...) -> float: ...
@overload
def checked_risk(risk: None, name: str = ...) -> None: ...
@overload
def checked_risk(risk: float | None, name: str = ...) -> float | None: ...
def checked_risk(risk: float | None, name: str = "risk") -> float | None:
    """Lambda of ``mean - lambda * sd``: below 0 it would pay for uncertainty; None stays None.

    Raises:
        UserError: it is no number from 0 up.
    """
    if risk is None:
        return None
    if not 0 <= risk < math.inf:
        raise UserError(f"{name} {risk}", expected="a number from 0 up")
    return float(risk)


def checked_abstain(abstain: float | None, name: str = "abstain") -> float | None:
    """Familiarity below which there is no opinion; None stays None.

    Raises:
        UserError: it is no number between 0 and 1.
    """
    if abstain is not None and not 0 < abstain < 1:
        raise UserError(f"{name} {abstain}", expected="a number between 0 and 1, such as 0.01")
    return abstain


def shares(weights: Mapping[str, float], names: Sequence[str], of: str) -> dict[str, float]:
    """Weights that sum to 1, without dimensions that weigh nothing.

    Args:
        weights: dimension -> number from 0 up; those left out count 0.
        names: the dimensions there are.
        of: whose they are, in words.

    Raises:
        UserError: a dimension that is none of `names`, or no positive weight.

    >>> shares({"depth": 3, "accuracy": 1}, ("depth", "accuracy", "style"), "this model")
    {'depth': 0.75, 'accuracy': 0.25}
    """
    unknown = [name for name in weights if name not in names]
    if unknown:
        raise UserError(
            f"weight of unknown dimension {', '.join(map(repr, unknown))}",
            expected=f"dimensions of {of}: {', '.join(names)}",
        )
    total = sum(weights.values())
    if any(not 0 <= weight < math.inf for weight in weights.values()) or not 0 < total < math.inf:
        raise UserError(
            f"weights {dict(weights)}", expected="numbers from 0 up, at least one of them above 0"
        )
    return {name: float(weight) / total for name, weight in weights.items() if weight > 0}
