"""What the checks found, in two or three plain sentences for a judge or a small model to read."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from reward_model.checks.facts import Facts
from reward_model.checks.verify import Verdict, describe, show, verify

VERSION = 2
"""Which checker words the evidence, as a model that reads it records it. It grows whenever the
rule or the words change so that a trained model would read other findings than it learnt on."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over the claims of one report."""

    verified: int
    """Claims the tables bear out."""
    wrong: int
    """Claims the tables contradict."""
    unverifiable: int
    """Claims the tables say nothing certain about; no error."""

    @property
    def checked(self) -> int:
        """Claims with an answer."""
        return self.verified + self.wrong

    @property
    def wrong_share(self) -> float | None:
        """Wrong among those with an answer; None where there is none."""
        return self.wrong / self.checked if self.checked else None


def summarize(verdicts: list[Verdict]) -> Summary:
    """Count verdicts by status.

    >>> summarize([])
    Summary(verified=0, wrong=0, unverifiable=0)
    """
    count = {s: sum(v.status == s for v in verdicts) for s in ("verified", "wrong", "unverifiable")}
    return Summary(**count)


_ZH = {"none": "无", "few": "少量", "some": "一些", "many": "大量"}


def bucket(count: int) -> str:
    """A coarse word for a count: none, few (1-2), some (3-7), many.

    >>> [bucket(n) for n in (0, 2, 5, 40)]
    ['none', 'few', 'some', 'many']
    """
    if count == 0:
        return "none"
    return "few" if count <= 2 else "some" if count <= 7 else "many"


_SAID: dict[bytes, str] = {}
"""Evidence of texts read before: what a tokenizer learns from is encoded after, and what a model
has scored is read once more for the baselines beside it."""
_SAID_KEPT = 4096


def evidence(
    facts: Facts | str, report: str, language: str | None = None, *, examples: int = 3
) -> str:
    """A short, deterministic account of the checked figures, in `zh` or `en`.

    The language is the report's own where none is given.

    >>> table = "| Item | FY2021 | FY2020 |\\n|---|---|---|\\n| Revenue | 120 | 100 |"
    >>> report = "Revenue rose 25.0% to 120 million in FY2021."
    >>> print(evidence("Unit: CNY million\\n" + table, report).replace(". ", ".\\n"))
    Checked figures: 1 verified, 1 wrong, 0 that the tables do not settle.
    Wrong figures: few; verified figures: few.
    Wrong for certain: Revenue FY2021, change says 25.0%, tables give 20.0%.
    Verified: Revenue FY2021 is 120 million.
    """
    if isinstance(facts, Facts):
        return _words(facts, report, language, examples)
    asked = json.dumps([facts, report, language, examples], ensure_ascii=False)
    key = hashlib.blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    said = _SAID.get(key)
    if said is None:
        said = _words(facts, report, language, examples)
        if len(_SAID) >= _SAID_KEPT:
            _SAID.clear()
        _SAID[key] = said
    return said


def _words(facts: Facts | str, report: str, language: str | None, examples: int) -> str:
    verdicts = verify(facts, report)
    counts = summarize(verdicts)
    if language is None:
        chinese = len(re.findall(r"[\u4e00-\u9fff]", report))
        language = "zh" if chinese * 5 > len(report) - chinese or chinese > 200 else "en"
    wrong = [v for v in verdicts if v.status == "wrong"]
    right = [v for v in verdicts if v.status == "verified"]
    if language == "zh":
        text = (
            f"数字核对：{counts.verified}处属实，{counts.wrong}处错误，"
            f"{counts.unverifiable}处表中无从判断。"
            f"错误数字：{_ZH[bucket(counts.wrong)]}；属实数字：{_ZH[bucket(counts.verified)]}。"
        )
        if wrong:
            shown = "；".join(_example(v, "zh") for v in wrong[:examples])
            text += f"确定有误：{shown}{' 等' if len(wrong) > examples else ''}。"
        if right and examples:
            text += f"属实：{_plain(right[0], '为')}。"
        return text
    text = (
        f"Checked figures: {counts.verified} verified, {counts.wrong} wrong, "
        f"{counts.unverifiable} that the tables do not settle. "
        f"Wrong figures: {bucket(counts.wrong)}; verified figures: {bucket(counts.verified)}."
    )
    if wrong:
        shown = "; ".join(_example(v, "en") for v in wrong[:examples])
        text += f" Wrong for certain: {shown}{' and others' if len(wrong) > examples else ''}."
    if right and examples:
        text += f" Verified: {_plain(right[0], ' is ')}."
    return text


def findings(facts: Facts | str, report: str) -> list[str]:
    """What is certain about the figures of a report, one finding a line; the rest is no finding.

    >>> table = "| Item | FY2021 | FY2020 |\\n|---|---|---|\\n| Revenue | 120 | 100 |"
    >>> report = "Revenue rose 25.0% to 120 million in FY2021. European revenue was 7 million."
    >>> for line in findings("Unit: CNY million\\n" + table, report):
    ...     print(line)
    wrong: 25.0% (Revenue FY2021, change: tables give 20.0%)
    verified: 120 million (Revenue FY2021)
    """
    lines = []
    for verdict in verify(facts, report):
        if verdict.status == "wrong":
            lines.append(f"wrong: {_said(verdict)} ({verdict.reason})")
        elif verdict.status == "verified":
            lines.append(f"verified: {_said(verdict)} ({describe(verdict.claim)})")
    return lines


def _said(verdict: Verdict) -> str:
    return " ".join(re.sub(r"[*_`<>|]", "", verdict.claim.text).split())


def _plain(verdict: Verdict, joint: str) -> str:
    return f"{describe(verdict.claim)}{joint}{_said(verdict)}"


def _example(verdict: Verdict, language: str) -> str:
    said = _said(verdict)
    what = describe(verdict.claim)
    if verdict.expected is None:
        return f"{what} 写作 {said}" if language == "zh" else f"{what} says {said}"
    given = show(verdict.claim, verdict.expected)
    if language == "zh":
        return f"{what} 写作{said}，表中为{given}"
    return f"{what} says {said}, tables give {given}"
