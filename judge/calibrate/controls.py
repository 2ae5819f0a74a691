"""Known truth for a judge: errors that code plants into a clean text, and changes that are none."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from judge.texts import Report
from reward_model.checks import ERROR_KINDS, plant, read_facts, verify

_BULLET = re.compile(r"^([ \t]*)([-*])( +)(?=\S)", re.M)
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*")


class Case(NamedTuple):
    """A text that is taken to be clean, and what was made of it."""

    report: Report
    wrong: int
    """Figures in it that the checks call wrong: above 0 it does not count as clean."""
    planted: dict[str, str]
    """By kind of error; kinds that the text offers no place for are left out."""
    reformatted: str | None


def make_case(report: Report, seed: int) -> Case:
    """Plant one error of every kind, each into its own copy of the text."""
    facts = read_facts(report.prompt)
    wrong = sum(verdict.status == "wrong" for verdict in verify(facts, report.text))
    made = {}
    for kind in ERROR_KINDS:
        rng = random.Random(f"{seed}:{kind}:{report.group}:{len(report.text)}")
        found = plant(facts, report.text, kind, rng)
        if found is not None:
            made[kind] = found[0]
    return Case(report, wrong, made, reformatted(report.text))


def reformatted(text: str) -> str | None:
    """The same words with other bullets, other marks of bold and wider paragraphs; None where
    there is nothing of the kind to change.

    >>> reformatted("**Sales**\\n- up 3%\\n- steady")
    '__Sales__\\n* up 3%\\n* steady'
    >>> reformatted("Sales rose.") is None
    True
    """
    changed = _BULLET.sub(lambda m: f"{m[1]}{'*' if m[2] == '-' else '-'}{m[3]}", text)
    changed = _BOLD.sub(r"__\1__", changed)
    changed = changed.replace("\n\n", "\n\n\n")
    return changed if changed != text else None
