"""The numbers of `judge calibrate` from levels and known truth, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any, NamedTuple

from judge.calibrate.controls import Case
from judge.scoring.questions import Answers, Question
from judge.settings import Evidence
from reward_model.checks import ERROR_KINDS
from reward_model.stats.shares import share


class Fall(NamedTuple):
    """What a changed text got against the clean one."""

    levels: float
    """Clean minus changed, in levels; the mean of both orders in pairwise mode."""
    consistent: bool | None
    """Both orders preferred the same text, or neither; None where there is one order only."""


def measure(
    cases: Sequence[Case],
    answers: Answers,
    dimension: str,
    scale: int,
    *,
    evidence: Evidence,
    samples: int,
    pairwise: bool,
) -> dict[str, Any]:
    """Recall by kind of error, false alarms, test and retest, consistency of orders.

    - an error is found when the text with it gets a lower level than the clean text;
    - `below_top`: a clean text, one without a figure that the checks call wrong, is not given the
      highest level; `reformatted_lower`: the same words in another format get a lower level;
    - `lower_again`: a clean text gets a lower level in a later draw, which is how often an
      "error" is found by chance.
    """
    asker = _Levels(answers, dimension, evidence, samples, pairwise)
    kinds: dict[str, Any] = {}
    falls: list[Fall] = []
    for kind in ERROR_KINDS:
        offered = [case for case in cases if kind in case.planted]
        own = [f for c in offered if (f := asker.fall(c, c.planted[kind])) is not None]
        falls += own
        kinds[kind] = {
            **share(sum(fall.levels > 0 for fall in own), len(own)),
            "mean_fall": round(fmean(fall.levels for fall in own), 4) if own else None,
            "missing": len(offered) - len(own),
            "no_place": len(cases) - len(offered),
        }
    controls = [
        fall
        for case in cases
        if case.reformatted is not None and (fall := asker.fall(case, case.reformatted)) is not None
    ]
    draws = [asker.repeats(case) for case in cases]
    clean = [own for case, own in zip(cases, draws, strict=True) if case.wrong == 0]
    first = [own[0] for own in clean if own and own[0] is not None]
    again = [
        (a, b) for own in draws for a, b in combinations(own, 2) if a is not None and b is not None
    ]
    orders = [fall.consistent for fall in falls + controls if fall.consistent is not None]
    places = [same for case in cases for same in asker.places(case)]
    return {
        "recall": share(sum(fall.levels > 0 for fall in falls), len(falls)),
        "kinds": kinds,
        "below_top": share(sum(level < scale for level in first), len(first)),
        "reformatted_lower": share(sum(fall.levels > 0 for fall in controls), len(controls)),
        "lower_again": share(sum(b < a for a, b in again), len(again)),
        "same_again": share(sum(a == b for a, b in again), len(again)),
        "mean_difference_again": (round(fmean(abs(a - b) for a, b in again), 4) if again else None),
        "place_matters": share(sum(not same for same in places), len(places)),
        "swap_consistent": share(sum(orders), len(orders)),
    }


class _Levels:
    """Levels of the texts of a case, out of the answers."""

    def __init__(
        self, answers: Answers, dimension: str, evidence: Evidence, samples: int, pairwise: bool
    ) -> None:
        self.answers, self.dimension, self.evidence = answers, dimension, evidence
        self.samples, self.pairwise = samples, pairwise

    def _level(self, case: Case, texts: tuple[str, ...], sample: int, text: int) -> int | None:
        question = Question(case.report.prompt, texts, sample, self.evidence)
        return self.answers.level(question, self.dimension, text)

    def repeats(self, case: Case) -> list[int | None]:
        """Level of the clean text in each draw."""
        clean = case.report.text
        texts = (clean, clean) if self.pairwise else (clean,)
        return [self._level(case, texts, sample, 0) for sample in range(self.samples)]

    def places(self, case: Case) -> list[bool]:
        """In pairwise mode: whether the clean text got the same level in both places."""
        if not self.pairwise:
            return []
        clean = case.report.text
        both = [
            (self._level(case, (clean, clean), n, 0), self._level(case, (clean, clean), n, 1))
            for n in range(self.samples)
        ]
        return [a == b for a, b in both if a is not None and b is not None]

    def fall(self, case: Case, changed: str) -> Fall | None:
        """How far a changed text falls below the clean one; None where a level is missing."""
        clean = case.report.text
        if not self.pairwise:
            was, now = self._level(case, (clean,), 0, 0), self._level(case, (changed,), 0, 0)
            return None if was is None or now is None else Fall(was - now, None)
        found = [
            self._level(case, (clean, changed), 0, 0),
            self._level(case, (clean, changed), 0, 1),
            self._level(case, (changed, clean), 0, 1),
            self._level(case, (changed, clean), 0, 0),
        ]
        levels = [level for level in found if level is not None]
        if len(levels) < len(found):
            return None
        first, second = levels[0] - levels[1], levels[2] - levels[3]
        same = (first > 0) - (first < 0) == (second > 0) - (second < 0)
        return Fall((first + second) / 2, same)
