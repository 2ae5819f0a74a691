"""What a reward is made of: weights of dimensions, risk, how members of an ensemble are joined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, overload

from reward_model.records import UserError


def parse_weights(words: list[str]) -> dict[str, float] | None:
    """`["depth=2", "accuracy=1"]` as numbers; None where nothing is given.

    Raises:
        UserError: not a name and a number.

    >>> parse_weights(["depth=2", "accuracy=0.5"])
    {'depth': 2.0, 'accuracy': 0.5}
    """
    weights: dict[str, float] = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            if weights.setdefault(name.strip(), float(number)) != float(number):
                raise UserError(f"two weights of {name.strip()}", expected="one a dimension")
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
    expected = "a number from 0 up"
    number = as_number(risk, name, expected)
    if not 0 <= number < math.inf:
        raise UserError(f"{name} {risk}", expected=expected)
    return number


def as_number(value: Any, name: str, expected: str = "a number") -> float:
    """A number of any library's kind; a text that spells one is a mistake in some file.

    >>> from fractions import Fraction
    >>> as_number(Fraction(1, 2), "risk")
    0.5

    Raises:
        UserError: it is none, with its name and what was expected.
    """
    if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__"):
        raise UserError(f"{name} {value!r}", expected=expected)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # an array of several, or 10**400
        raise UserError(f"{name} {value!r}", expected=expected) from None


def checked_reward(reward: float | None, name: str) -> float | None:
    """What a response earns that gets no score; None stays None.

    Raises:
        UserError: it is no finite number.
    """
    if reward is None:
        return None
    number = as_number(reward, name, "a finite number, or None")
    if not math.isfinite(number):
        raise UserError(f"{name} {reward}", expected="a finite number, or None")
    return number


def checked_seconds(value: float, name: str) -> float:
    """A time to wait.

    Raises:
        UserError: it is no number above 0.
    """
    expected = "seconds, more than 0"
    seconds = as_number(value, name, expected)
    if not seconds > 0:
        raise UserError(f"{name} {value}", expected=expected)
    return seconds


def checked_abstain(abstain: float | None, name: str = "abstain") -> float | None:
    """Familiarity below which there is no opinion; None stays None.

    Raises:
        UserError: it is no number between 0 and 1.
    """
    if abstain is None:
        return None
    expected = "a number between 0 and 1, such as 0.01"
    number = as_number(abstain, name, expected)
    if not 0 < number < 1:
        raise UserError(f"{name} {abstain}", expected=expected)
    return number


def checked_weights(weights: Mapping[str, float] | None) -> dict[str, float] | None:
    """Weights as plain numbers, whichever library's they are; None stays None.

    Raises:
        UserError: no names with numbers.
    """
    if weights is None:
        return None
    if not isinstance(weights, Mapping):
        raise UserError(
            f"weights {weights!r}", expected="a number for each dimension, such as {'depth': 1}"
        )
    return {str(name): as_number(one, f"weight of {name}") for name, one in weights.items()}


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
    numbers = checked_weights(weights) or {}
    unknown = [name for name in numbers if name not in names]
    if unknown:
        raise UserError(
            f"weight of unknown dimension {', '.join(map(repr, unknown))}",
            expected=f"dimensions of {of}: {', '.join(names)}",
        )
    total = sum(numbers.values())
    if any(not 0 <= weight < math.inf for weight in numbers.values()) or not 0 < total < math.inf:
        raise UserError(
            f"weights {dict(weights)}", expected="numbers from 0 up, at least one of them above 0"
        )
    return {name: weight / total for name, weight in numbers.items() if weight > 0}
