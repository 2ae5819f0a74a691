"""Training, validation and test groups: what shares a prompt or a company stays together.

`split_groups(samples, shares, seed)` decides, `Split.write` keeps it beside the model, and
`read_split(folder)` lets an evaluation use exactly the texts that were held out.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reward_model.data.dataset import Sample, take
from reward_model.data.deal import deal
from reward_model.records import UserError, as_text, explain_os_error, write_json
from reward_model.records.files import Pathish

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
SPLIT = "split.json"
HoldOut = dict[str, list[str]]
"""Facet (degradation, field, language) -> values that are never trained on."""
FACETS = ("degradation", "field", "language")


class Split(BaseModel):
    """Which groups are in which part."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    shares: dict[Part, float]
    groups: dict[Part, list[str]]
    data: str = ""
    """Digest of the texts and labels that were split."""
    hold_out: HoldOut = Field(default_factory=dict)
    """Kinds that never train nor validate, in whatever group they are."""
    rubric: str = ""
    """`name@digest` of the rubric that the run trains on."""
    validation: str = ""
    """Digest of texts and labels of a validation file of its own."""
    ties: dict[Part, list[str]] = Field(default_factory=dict)
    """Companies and fingerprints of prompts that stand in a part, beside the names of groups."""

    def parts_of(self, samples: Iterable[Sample]) -> list[Part | None]:
        """The part of each text, by its group, its company or its prompt; None: unknown."""
        known = {name: part for part, names in self.ties.items() for name in names}
        known |= {name: part for part, names in self.groups.items() for name in names}
        return [
            next((known[name] for name in (s.group, *ties_of(s)) if name in known), None)
            for s in samples
        ]

    def holds_out(self, sample: Sample) -> bool:
        """The sample is of a kind that is never trained on."""
        return any(getattr(sample, name) in values for name, values in self.hold_out.items())

    def rows(self, samples: Sequence[Sample], part: Part) -> NDArray[np.int64]:
        """Positions of the samples of one part; kinds held out are in the test part only."""
        wanted = set(self.groups[part])
        return np.flatnonzero(
            [
                sample.group in wanted and (part == "test" or not self.holds_out(sample))
                for sample in samples
            ]
        )

    def select(self, samples: Sequence[Sample], part: Part) -> Sequence[Sample]:
        """The samples of one part, in their order."""
        return take(samples, self.rows(samples, part))

    def write(self, folder: Pathish) -> None:
        """Write `split.json`."""
        write_json(Path(folder) / SPLIT, self.model_dump(mode="json"))


def read_split(folder: Pathish) -> Split:
    """The split written beside a model (in its folder, or the one above it).

    Raises:
        UserError: there is none, or it is broken.
    """
    places = [Path(folder) / SPLIT, Path(folder).parent / SPLIT]
    path = next((place for place in places if place.exists()), places[0])
    try:
        return Split.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise explain_os_error(error, path) from None
    except (ValueError, ValidationError):
        raise UserError(
            "a broken split file", expected="the one reward-model train wrote", path=path
        ) from None


def fingerprint(samples: Iterable[Sample]) -> str:
    """Digest of texts, groups and labels, so that a split is not applied to other data."""
    told = hashlib.sha256(b"[")
    for n, s in enumerate(samples):
        row = [s.pair, s.side, s.group, list(s.labels), s.text_digest]
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        told.update(("," if n else "").encode() + line.encode())
    told.update(b"]")
    return told.hexdigest()[:12]


def ties_of(sample: Sample) -> tuple[str, ...]:
    """What keeps a text with others beside its group: its company and its prompt."""
    company = (f"company:{sample.company}",) if sample.company else ()
    return (*company, f"prompt:{sample.prompt_key}") if sample.prompt_key else company


def _lots(samples: Sequence[Sample]) -> dict[str, str]:
    """Group -> the first of all groups that share companies or prompts with it, in any number of
    steps; a lot goes to one part."""
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := first.setdefault(name, name)) != name:
            first[name] = first[above]
            name = above
        return name

    tied: dict[str, str] = {}
    for sample in samples:
        for tie in ties_of(sample):
            one, other = sorted((root(sample.group), root(tied.setdefault(tie, sample.group))))
            first[other] = one
        root(sample.group)
    return {group: root(group) for group in list(first)}


def split_groups(
    samples: Sequence[Sample],
    shares: Mapping[Part, float],
    seed: int,
    hold_out: HoldOut | None = None,
) -> Split:
    """Divide the groups so that every part gets its share of the texts, in every stratum.

    Groups that share a company or a prompt, in any number of steps, go to one part together.
    Groups are ordered at random within their stratum (field, language, degradation where a group
    holds only one, and how good its texts are) and dealt one by one to the part that is furthest
    behind its share; then groups change places until every level that some dimension has is in
    every part, where there are groups enough.

    Raises:
        UserError: fewer groups than parts, or `hold_out` names what no text has or all have.
    """
    held = hold_out or {}
    _check_hold_out(samples, held)
    wanted = {part: shares.get(part, 0.0) for part in PARTS}
    parts = [part for part in PARTS if wanted[part] > 0]
    lots = _lots(samples)
    count = len(set(lots.values()))
    if count < len(parts):
        groups = "a single group" if count == 1 else f"only {count} groups"
        raise UserError(
            f"{groups} of texts that share a prompt or a company",
            expected=f"at least {len(parts)}, to hold some out for {' and '.join(parts[1:])}",
            mend="give another file with --eval-file, or pass --eval-share 0 --test-share 0",
        )
    # What is never trained on has to be in the test part to be measured.
    kinds = [(name, value) for name, values in held.items() for value in values]
    marks = [[getattr(s, name) == value for name, value in kinds] for s in samples if kinds]
    dealt = deal(
        samples, [wanted[p] for p in parts], seed, np.array(marks) if kinds else None, lots
    )
    groups_of: dict[Part, list[str]] = {part: [] for part in PARTS}
    groups_of.update(dict(zip(parts, dealt, strict=True)))
    split = Split(
        seed=seed,
        shares={part: wanted[part] for part in PARTS},
        groups=groups_of,
        data=fingerprint(samples),
        hold_out=held,
    )
    split = split.model_copy(update={"ties": _ties(samples, split)})
    if held and all(split.holds_out(sample) for sample in samples):
        raise UserError(f"hold_out {_told(held)} on every text", expected="something to train on")
    return split


def _ties(samples: Iterable[Sample], split: Split) -> dict[Part, list[str]]:
    part_of = {group: part for part, groups in split.groups.items() for group in groups}
    found: dict[Part, set[str]] = {}
    for sample in samples:
        found.setdefault(part_of[sample.group], set()).update(ties_of(sample))
    return {part: sorted(found[part]) for part in PARTS if found.get(part)}


def parse_hold_out(values: Iterable[str]) -> HoldOut:
    """What `--hold-out FACET=VALUE` says, gathered by facet.

    Raises:
        UserError: another form, or an unknown facet.

    >>> parse_hold_out(["degradation=generic_wording", "language=en"])
    {'degradation': ['generic_wording'], 'language': ['en']}
    """
    found: HoldOut = {}
    for text in values:
        name, _, value = (part.strip() for part in text.partition("="))
        if name not in FACETS or not value:
            raise UserError(
                f"hold_out {text!r}",
                expected=f"FACET=VALUE with a facet of {', '.join(FACETS)}",
                mend="for example --hold-out degradation=generic_wording",
            )
        found.setdefault(name, []).append(value)
    return {name: sorted(set(values)) for name, values in sorted(found.items())}


def _check_hold_out(samples: Sequence[Sample], held: HoldOut) -> None:
    for name, values in held.items():
        there = {getattr(sample, name) for sample in samples} - {None}
        for value in values:
            if value not in there:
                known = ", ".join(sorted(there)) or f"no text has a {name}"
                raise UserError(f"hold_out {name}={value}", expected=f"one of the file: {known}")


def _told(held: HoldOut) -> str:
    return ", ".join(f"{name}={value}" for name, values in held.items() for value in values)


def shared_data_lines(train: Sequence[Sample], held_out: Iterable[Sample]) -> float:
    """Share of the held-out prompts' lines with figures that training prompts hold as well.

    Companies never seen in training share instructions with those that were, but not figures.
    """
    # A number of eight bytes a line, so that a million prompts fit into memory.
    known, asked = (
        np.fromiter(itertools.chain.from_iterable(_lines_by_prompt(part)), np.int64)
        for part in (train, held_out)
    )
    return float(np.isin(asked, np.unique(known)).mean()) if len(asked) else 0.0


def _lines_by_prompt(samples: Iterable[Sample]) -> Iterable[list[int]]:
    """Numbers that stand for the lines with figures of each different prompt."""
    seen: set[int] = set()
    for sample in samples:
        prompt = as_text(sample.prompt)
        if hash(prompt) not in seen:
            seen.add(hash(prompt))
            yield [hash(s.strip()) for s in prompt.splitlines() if re.search(r"\d{3}", s)]
