"""The same thing more than once, and groups that are one group in truth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from judge.validate.filters import repeats
from judge.validate.report import Duplicates, Finding
from judge.validate.table import Table

SHOWN = 50
"""Linked sets listed in the report."""


def duplicates(table: Table) -> tuple[Duplicates, list[Finding]]:
    """Repeated pairs, conflicting levels, groups tied by shared tables or shared text."""
    again = repeats(table)
    repeated, conflicting = _conflicts(table)
    prompts = table.prompts.linked_groups()
    texts = table.texts.linked_groups()
    shares = [share for links in prompts for share in list(links.values())[1:]]
    part = Duplicates(
        pairs=int(again.sum()),
        same_sides=int((table.same_sides & table.preference).sum()),
        repeated=repeated,
        conflicting=conflicting,
        linked_prompts=[_names(table, links) for links in prompts[:SHOWN]],
        linked_prompts_share=float(np.median(shares)) if shares else None,
        linked_texts=[_names(table, links) for links in texts[:SHOWN]],
        independent_groups=_independent(len(table.groups), [*prompts, *texts]),
    )
    return part, _findings(table, part, prompts, texts)


def _names(table: Table, links: dict[int, float]) -> list[str]:
    return [table.groups[group] for group in links]


def _conflicts(table: Table) -> tuple[int, int]:
    keys = table.text_key.reshape(-1)
    levels = table.levels.reshape(len(keys), -1)
    scored = np.repeat(table.scored, 2)
    keys, levels = keys[scored], levels[scored]
    _, place, count = np.unique(keys, return_inverse=True, return_counts=True)
    lowest = np.full((len(count), levels.shape[1]), np.iinfo(np.int16).max, np.int16)
    highest = np.full((len(count), levels.shape[1]), -1, np.int16)
    given = levels >= 0
    np.minimum.at(lowest, place, np.where(given, levels, np.iinfo(np.int16).max))
    np.maximum.at(highest, place, levels)
    differs = (highest > lowest).any(axis=1)
    return int((count > 1).sum()), int((differs & (count > 1)).sum())


def _independent(groups: int, links: Iterable[dict[int, float]]) -> int:
    root = list(range(groups))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for linked in links:
        first, *rest = (find(group) for group in linked)
        for other in rest:
            root[find(other)] = find(first)
    return sum(find(i) == i for i in range(groups))


def _findings(
    table: Table,
    part: Duplicates,
    prompts: list[dict[int, float]],
    texts: list[dict[int, float]],
) -> list[Finding]:
    found: list[Finding] = []

    def find(code: str, message: str, advice: str, **numbers: float | int | str | None) -> None:
        found.append(
            Finding(
                code=code, level="warning", message=message, advice=advice, cell={}, numbers=numbers
            )
        )

    if prompts:
        tied = sum(len(links) for links in prompts)
        find(
            "linked_prompts",
            f"{tied} of {len(table.groups)} prompts share most of their lines with figures "
            f"(median {part.linked_prompts_share or 0:.0%}), in {len(prompts)} set(s): the same "
            f"company under different instructions; {part.independent_groups} independent "
            "group(s) are left",
            "any split by prompt leaks here: give pairs of one company the same "
            "metadata.prompt_id (or metadata.company), and read intervals as too narrow",
            linked=tied,
            sets=len(prompts),
            share=part.linked_prompts_share,
        )
    if texts:
        tied = sum(len(links) for links in texts)
        find(
            "linked_texts",
            f"nearly the same response stands in different groups, in {len(texts)} set(s) over "
            f"{tied} groups",
            "a split that parts them leaks: give them one metadata.prompt_id, or drop them",
            linked=tied,
            sets=len(texts),
        )
    if part.pairs:
        find(
            "duplicate_pairs",
            f"{part.pairs} pairs repeat an earlier one, text for text",
            "leave them out with --drop-duplicates",
            pairs=part.pairs,
        )
    if part.same_sides:
        find(
            "same_sides",
            f"{part.same_sides} pairs have the same text on both sides",
            "the degradation changed nothing there; leave them out with --drop-duplicates",
            pairs=part.same_sides,
        )
    if part.conflicting:
        find(
            "conflicting_levels",
            f"{part.conflicting} of {part.repeated} texts that stand in several pairs got "
            "different levels for the same text",
            "score each text once, or take the mean of several samples (--samples)",
            texts=part.conflicting,
            repeated=part.repeated,
        )
    return found
