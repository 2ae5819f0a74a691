"""Training, validation and test groups: what shares a prompt or a company stays together.

`split_groups(samples, shares, seed)` decides, `Split.write` keeps it beside the model, and
`read_split(folder)` lets an evaluation use exactly the texts that were held out.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from reward_model.data import Sample
from reward_model.records import UserError, as_text, digest, explain_os_error, write_json
from reward_model.records.files import Pathish

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
SPLIT = "split.json"


class Split(BaseModel):
    """Which groups are in which part."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    shares: dict[Part, float]
    groups: dict[Part, list[str]]
    data: str = ""
    """Digest of the texts and labels that were split."""

    def select(self, samples: Iterable[Sample], part: Part) -> list[Sample]:
        """The samples of one part, in their order."""
        wanted = set(self.groups[part])
        return [sample for sample in samples if sample.group in wanted]

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


def fingerprint(samples: Sequence[Sample]) -> str:
    """Digest of texts, groups and labels, so that a split is not applied to other data."""
    rows = []
    for s in samples:
        text = digest(as_text(s.prompt) + as_text(s.response))
        rows.append([s.pair, s.side, s.group, list(s.labels), text])
    return digest(rows)


def split_groups(samples: Sequence[Sample], shares: Mapping[Part, float], seed: int) -> Split:
    """Divide the groups so that every part gets its share of the texts, in every stratum.

    Groups are ordered at random within their stratum (field, language and, where a group holds
    only one, degradation) and dealt one by one to the part that is furthest behind its share.

    Raises:
        UserError: fewer groups than parts.
    """
    sizes = Counter(sample.group for sample in samples)
    wanted = {part: shares.get(part, 0.0) for part in PARTS}
    parts = [part for part in PARTS if wanted[part] > 0]
    if len(sizes) < len(parts):
        groups = "a single group" if len(sizes) == 1 else f"only {len(sizes)} groups"
        raise UserError(
            f"{groups} of texts that share a prompt or a company",
            expected=f"at least {len(parts)}, to hold some out for {' and '.join(parts[1:])}",
            mend="give another file with --eval-file, or pass --eval-share 0 --test-share 0",
        )
    strata = _strata(samples)
    order = sorted(sizes)
    random.Random(f"{seed}:split").shuffle(order)
    order.sort(key=lambda group: strata[group])
    total, dealt, seen = sum(wanted.values()), dict.fromkeys(parts, 0), 0
    groups_of: dict[Part, list[str]] = {part: [] for part in PARTS}
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        seen += sizes[group]
        behind = {part: wanted[part] / total * seen - dealt[part] for part in parts}
        empty = [part for part in parts if not groups_of[part]]
        # The last groups go to the parts that would otherwise stay empty.
        part = max(empty if left <= len(empty) else parts, key=lambda p: behind[p])
        groups_of[part].append(group)
        dealt[part] += sizes[group]
    return Split(
        seed=seed,
        shares={part: wanted[part] for part in PARTS},
        groups={part: sorted(groups_of[part]) for part in PARTS},
        data=fingerprint(samples),
    )


def _strata(samples: Sequence[Sample]) -> dict[str, tuple[str, ...]]:
    seen: dict[str, tuple[set[str], set[str], set[str]]] = defaultdict(
        lambda: (set(), set(), set())
    )
    for sample in samples:
        for values, value in zip(
            seen[sample.group], (sample.field, sample.language, sample.degradation), strict=True
        ):
            values.add(value or "")
    return {
        group: tuple(next(iter(v)) if len(v) == 1 else "" for v in values)
        for group, values in seen.items()
    }


def shared_data_lines(train: Sequence[Sample], held_out: Sequence[Sample]) -> float:
    """Share of the held-out prompts' lines with figures that training prompts hold as well.

    Companies never seen in training share instructions with those that were, but not figures.
    """
    known = {line for sample in _one_a_prompt(train) for line in _data_lines(sample)}
    lines = [line for sample in _one_a_prompt(held_out) for line in _data_lines(sample)]
    return sum(line in known for line in lines) / len(lines) if lines else 0.0


def _one_a_prompt(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(as_text(sample.prompt) for sample in samples))


def _data_lines(prompt: str) -> list[str]:
    return [line.strip() for line in prompt.splitlines() if re.search(r"\d{3}", line)]
