"""Which groups of a policy's rows train, which are looked at meanwhile, and which are kept.

Groups are ordered by a fingerprint of seed and name: the same file is divided the same way
whatever order its rows are in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reward_model.data.split import PARTS, Part, Split
from reward_model.policy.rows import PolicyRow
from reward_model.records import UserError, digest


def divide(
    rows: Sequence[PolicyRow], *, eval_share: float, test_share: float, seed: int, data: str
) -> Split:
    """Whole groups to test and validation until each has its share of the rows.

    Raises:
        UserError: too few groups to hold some out.
    """
    sizes = Counter(row.group for row in rows)
    shares: dict[Part, float] = {
        "train": 1 - eval_share - test_share,
        "validation": eval_share,
        "test": test_share,
    }
    if shares["train"] <= 0:
        raise UserError(
            f"shares of {eval_share:g} and {test_share:g} held out",
            expected="something to train on: less than 1 together",
        )
    needed = 1 + (eval_share > 0) + (test_share > 0)
    if len(sizes) < needed:
        raise UserError(
            f"{len(sizes)} group{'s' * (len(sizes) != 1)} of rows that share a prompt",
            expected=f"at least {needed}, to hold some out",
            mend="pass --eval-share 0 --test-share 0 to train on all",
        )
    order = sorted(sizes, key=lambda group: digest([seed, group], 24))
    groups: dict[Part, list[str]] = {part: [] for part in PARTS}
    for part in ("test", "validation"):
        wanted = shares[part] * len(rows)
        have = 0
        while wanted > 0 and len(order) > 1 and (not have or have + sizes[order[0]] / 2 <= wanted):
            group = order.pop(0)
            groups[part].append(group)
            have += sizes[group]
    groups["train"] = order
    return Split(seed=seed, shares=shares, groups=groups, data=data)


def part_of(rows: Sequence[PolicyRow], split: Split, part: Part) -> list[PolicyRow]:
    """The rows of one part, in their order."""
    wanted = set(split.groups[part])
    return [row for row in rows if row.group in wanted]
