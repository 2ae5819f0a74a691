"""What a reward is made of: weights of dimensions, risk, how members of an ensemble are joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
        name, _, said = word.partition("=")
        try:
            number = float(said)
        except ValueError:
            raise UserError(f"--weight {word!r}", expected="DIMENSION=NUMBER: depth=2") from None
        if weights.setdefault(name.strip(), number) != number:
            raise UserError(f"two weights of {name.strip()}", expected="one a dimension")
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
    return checked_number(risk, name, "a number from 0 up", lambda number: 0 <= number < math.inf)


def checked_number(
    value: Any,
    name: str,
    expected: str = "a number",
    fits: Callable[[float], bool] = lambda _: True,
) -> float:
    """A number of any library's kind; a text that spells one is a mistake in some file.

    >>> from fractions import Fraction
    >>> checked_number(Fraction(1, 2), "risk")
    0.5

    Raises:
        UserError: it is none, or does not fit, with its name and what was expected.
    """
    if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__"):
        raise UserError(f"{name} {value!r}", expected=expected)
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # an array of several, or 10**400
        raise UserError(f"{name} {value!r}", expected=expected) from None
    if not fits(number):
        raise UserError(f"{name} {value}", expected=expected)
    return number


def checked_reward(reward: float | None, name: str) -> float | None:
    """What a response earns that gets no score; None stays None.

    Raises:
        UserError: it is no finite number.
    """
    if reward is None:
        return None
    return checked_number(reward, name, "a finite number, or None", math.isfinite)


def checked_seconds(value: float, name: str) -> float:
    """A time to wait.

    Raises:
        UserError: it is no number above 0.
    """
    return checked_number(value, name, "seconds, more than 0", lambda seconds: seconds > 0)


def checked_abstain(abstain: float | None, name: str = "abstain") -> float | None:
    """Familiarity below which there is no opinion; None stays None.

    Raises:
        UserError: it is no number between 0 and 1.
    """
    if abstain is None:
        return None
    expected = "a number between 0 and 1, such as 0.01"
    return checked_number(abstain, name, expected, lambda number: 0 < number < 1)


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
    return {str(name): checked_number(one, f"weight of {name}") for name, one in weights.items()}


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


def checked_key(key: str | None, name: str = "key") -> str | None:
    """A bearer key as a header can hold it; None where there is none. It is never shown.

    >>> checked_key(" s3cret "), checked_key(None)
    ('s3cret', None)

    Raises:
        UserError: no header could hold it.
    """
    if key is None:
        return None
    if not isinstance(key, str):
        raise UserError(f"a {name} of type {type(key).__name__}", expected="a string")
    said = key.strip()
    if not (said.isascii() and said.isprintable()):
        raise UserError(f"a {name} that no header can hold", expected="printable ASCII")
    return said or None
