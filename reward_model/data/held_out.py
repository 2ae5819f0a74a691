"""Which texts of a file a model is measured on, and which its baselines learn from.

`choose(samples, split, part)` keeps to the groups that training held out, and says so in words.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reward_model.data.dataset import Sample, take
from reward_model.data.split import Split, fingerprint
from reward_model.records import UserError

Wanted = Literal["auto", "test", "validation", "all"]
WANTED: tuple[Wanted, ...] = ("auto", "test", "validation", "all")
FOLDS = 5


@dataclass(frozen=True)
class HeldOut:
    """The texts to measure on."""

    test: Sequence[Sample]
    train: Sequence[Sample]
    """What the baselines learn from; empty where no training text is at hand."""
    part: str
    """`test`, `validation`, `all`, or `whole file` where no text of it was trained on."""
    words: list[str]
    """What a reader of the numbers should know about it."""


def choose(samples: Sequence[Sample], split: Split | None, wanted: Wanted = "auto") -> HeldOut:
    """The held-out texts: of `wanted`, or for `auto` test groups, else validation groups.

    Groups that the split does not know were not trained on and count as held out.

    Raises:
        UserError: nothing of the file is in the part that was asked for.
    """
    if split is None:
        if wanted in ("test", "validation"):
            raise UserError(
                "a model without split.json",
                expected=f"the split that --split {wanted} selects from",
                mend="measure on a file of texts it was not trained on, with --split all",
            )
        unsure = "the model has no split.json: whether it was trained on these texts is not known"
        return HeldOut(samples, [], "whole file", [unsure])
    parts = np.array([part or "unknown" for part in split.parts_of(samples)])
    present = set(parts.tolist())
    never = np.array([split.holds_out(sample) for sample in samples])
    train = take(samples, (parts == "train") & ~never)
    if present == {"unknown"}:
        if wanted in ("test", "validation"):
            raise UserError(
                "a file whose groups are not in the model's split.json",
                expected=f"the file it was trained from, for --split {wanted}",
                mend="leave --split out to measure on the whole file",
            )
        fresh = "no group of this file was in training or validation: the whole file is measured"
        return HeldOut(samples, [], "whole file", [fresh])
    words: list[str] = []
    if fingerprint(samples) != split.data:
        words.append("the file is not the one that was split; its groups are matched by name")
    if wanted == "all":
        if len(train):
            words.append("training texts are among those measured: these numbers are optimistic")
        return HeldOut(samples, train, "all", words + _never_trained(samples, split))
    part = wanted if wanted != "auto" else "test" if "test" in present else "validation"
    if wanted == "auto" and part not in present:
        part = "test"  # only training groups and unknown ones: the unknown ones are held out
    keep = (parts == part) | (parts == "unknown")
    if part == "validation":
        keep &= ~never
    test = take(samples, keep)
    if len(test) == 0:
        raise UserError(
            f"no text of the {part} groups in the file",
            expected="texts that were held out from training",
            mend="train with --test-share above 0, or look at every text with --split all",
        )
    if part == "validation":
        words.append(
            "the best checkpoint was chosen on these validation texts: a little optimistic"
        )
    if part != "test" or "test" in present:
        name = f"{part} groups, never seen in training"
        words.append(f"measured on {len({s.group for s in test})} {name}")
    return HeldOut(test, train, part, words + _never_trained(test, split))


def _never_trained(test: Sequence[Sample], split: Split) -> list[str]:
    """What of the measured texts is of a kind that training never saw."""
    words = []
    for name, values in split.hold_out.items():
        for value in values:
            count = sum(getattr(sample, name) == value for sample in test)
            words.append(f"{name} {value} was never trained on: {count} of the measured texts")
    return words


def folds(samples: Sequence[Sample], seed: int) -> list[list[int]]:
    """Rows of `samples` in at most five parts that share no group; one part for a single group."""
    groups = sorted({sample.group for sample in samples})
    random.Random(f"{seed}:folds").shuffle(groups)
    count = min(FOLDS, len(groups))
    fold_of = {group: i % count for i, group in enumerate(groups)}
    parts: list[list[int]] = [[] for _ in range(count)]
    for row, sample in enumerate(samples):
        parts[fold_of[sample.group]].append(row)
    return parts
