"""What a reward is made of: weights of dimensions, risk, how members of an ensemble are joined."""

from __future__ import annotations

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


def check_terms(how: str, risk: float) -> None:
    """Look at `--how` and `--risk` before a model is loaded.

    Raises:
        UserError: one of them is wrong.
    """
    if how not in ("mean", "minimum"):
        raise UserError(f"--how {how}", expected="mean or minimum")
    if not (0 <= risk < float("inf")):
        raise UserError(f"--risk {risk}", expected="a number from 0 up")
