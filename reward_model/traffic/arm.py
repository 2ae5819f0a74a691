"""Who gets which answer: the arm of a user in an experiment, the same in every process."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from reward_model.records import UserError


def arm(unit: str, experiment: str, shares: Mapping[str, float]) -> str:
    """The arm of a unit, by blake2b of experiment and unit.

    Every treatment owns a slot of the same width and fills it from its start; the first arm, the
    control, has the rest. So a user who is in a treatment stays there when any share grows.

    Args:
        unit: what is assigned as a whole, such as the id of a user.
        experiment: its name; other experiments divide the same users independently.
        shares: share of each arm, together 1; the first one is the control.

    Raises:
        UserError: the shares are no division, or a treatment is wider than its slot.

    >>> arm("user-7", "round-2", {"old": 0.5, "new": 0.5})
    'old'
    >>> arm("user-7", "round-3", {"old": 0.5, "new": 0.5})
    'new'
    """
    check_shares(shares)
    control, *treatments = shares
    at = place(unit, experiment) * len(treatments)
    slot = treatments[int(at)]
    return slot if at - int(at) < shares[slot] * len(treatments) else control


def place(unit: str, experiment: str) -> float:
    """Where a unit stands in [0, 1) in an experiment: 53 bits of blake2b, as a float holds them."""
    found = blake2b(f"{experiment}\0{unit}".encode("utf-8", "surrogatepass"), digest_size=8)
    return (int.from_bytes(found.digest(), "big") >> 11) / 2**53


def check_shares(shares: Mapping[str, float]) -> None:
    """Refuse shares that are no division of the users.

    Raises:
        UserError: fewer than two arms, a share outside 0..1, a sum other than 1, or a treatment
            that is wider than its slot.
    """
    if len(shares) < 2:
        raise UserError(f"{len(shares)} arm", expected="a control and at least one treatment")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise UserError(f"share {share} of arm {name!r}", expected="a number from 0 to 1")
    total = sum(shares.values())
    if abs(total - 1) > 1e-9:
        raise UserError(f"shares that sum to {total:g}", expected="shares that sum to 1")
    widest = 1 / (len(shares) - 1)
    for name in list(shares)[1:]:
        if shares[name] > widest + 1e-9:
            raise UserError(
                f"share {shares[name]:g} of arm {name!r}",
                expected=f"at most {widest:g} with {len(shares) - 1} treatments",
                mend="the first arm is the control: name the widest arm first",
            )
