"""The embedded judge: grades the text of a report by rule, deterministic and without a network.

It reads only what stands in the prompt's sections, as a language model would: figures checked
against the writer's tables, causes and drivers, words of the trade, hedges. It counts shares of
statements rather than words, so that length alone moves nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from reward_model.checks import Facts, read_facts, verify
from reward_model.llm.base import RefusedError, Request
from reward_model.llm.offline.reading import Report, areas, lexicon, read_report

_TOP = 4.0
"""The measures below speak in levels 0-4; another scale is stretched from it."""
_NAME = re.compile(r"^(\w+):", re.M)
_LAST_NUMBER = re.compile(r"(\d+)\s*$")


class Grade(NamedTuple):
    """A level before rounding, and what was counted."""

    value: float
    zh: str
    en: str


def answer(parts: Mapping[str, str], request: Request) -> str:
    """Reply to a judge's prompt as a language model would: a JSON object in a text.

    Raises:
        RefusedError: a dimension this judge has no rule for.
    """
    names = _NAME.findall(parts.get("dimensions", ""))
    scale_text = _LAST_NUMBER.search(parts.get("scale", ""))
    scale = int(scale_text.group(1)) if scale_text else 4
    unknown = [name for name in names if name not in DIMENSIONS]
    if unknown or not names:
        raise RefusedError(f"the embedded judge cannot grade {', '.join(unknown) or 'nothing'}")
    prompt = parts.get("prompt", "")
    reply: dict[str, object] = {}
    if parts.get("task") == "compare":
        both = {"A": parts.get("report_a", ""), "B": parts.get("report_b", "")}
        graded = {text: _grades(prompt, report, names) for text, report in both.items()}
    else:
        graded = {"": _grades(prompt, parts.get("report", ""), names)}
    if "reasoning" in (request.json_schema or {}).get("properties", {"reasoning": {}}):
        chinese = parts.get("language") == "zh"
        reply["reasoning"] = _one_or_both(
            {
                text: {n: g.zh if chinese else g.en for n, g in grades.items()}
                for text, grades in graded.items()
            }
        )
    reply["levels"] = _one_or_both(
        {
            text: {n: level(grade.value, scale) for n, grade in grades.items()}
            for text, grades in graded.items()
        }
    )
    return json.dumps(reply, ensure_ascii=False)


def _grades(prompt: str, report: str, names: list[str]) -> dict[str, Grade]:
    read = read_report(report)
    return {name: DIMENSIONS[name](prompt, report, read) for name in names}


def _one_or_both(by_text: dict[str, object]) -> object:
    """What is said of a single text stands by itself, of two under their names."""
    return by_text.get("", by_text)


def level(value: float, scale: int) -> int:
    """Nearest level of a value between 0 and 4, on a scale of 0..`scale`.

    >>> level(2.5, 4), level(9.0, 4), level(2.0, 9)
    (3, 4, 5)
    """
    return math.floor(min(_TOP, max(0.0, value)) / _TOP * scale + 0.5)


def _upto(value: float, enough: float) -> float:
    """Share of `enough` that is there, at most 1."""
    return min(1.0, value / enough)


def depth(_prompt: str, _report: str, read: Report) -> Grade:
    """Causes, layers of causes, the other side, what if, what next; and how much is covered."""
    count = len(read.statements)
    if not count:
        return Grade(0.0, "没有对公司的陈述", "no statement about the company")
    trends, causes = read.share("trend", "cause"), read.share("cause")
    layers = sum(s in lexicon("deeper") or lexicon("cause").count(s) > 1 for s in read.statements)
    counter, what_if = read.hits("counter"), read.hits("sensitivity")
    forward, absolute = read.hits("forward"), read.hits("absolute")
    # One sentence in passing does not cover an area of a long report.
    covered = sum(_upto(said, count / 14) for said in read.areas().values())
    good, bad = read.hits("positive"), read.hits("negative")
    value = (
        0.6
        + 1.0 * _upto(trends, 0.4)
        + 0.9 * _upto(causes, 0.2)
        + 0.7 * _upto(layers / count, 0.1)
        + 0.3 * _upto(counter / count, 0.05)
        + 0.3 * _upto(what_if / count, 0.03)
        + 0.5 * _upto(forward / count, 0.03)
        - 0.5 * max(0.0, len(areas()) - 1 - covered)
        - 0.75 * max(0.0, 3.5 - read.spread())
        - 0.6 * _upto(absolute, 1)
    )
    if good + bad >= 4 and min(good, bad) == 0:
        value -= 0.3
    counted = (
        f"{count}|{trends:.0%}|{causes:.0%}|{layers}|{counter}|{what_if}|{forward}|"
        f"{covered:.1f}|{absolute}"
    ).split("|")
    zh = (
        "陈述 {} 句，描述变动 {}，说明原因 {}，追到第二层的 {} 句，反面证据 {} 句，敏感性 {} 句，"
        "前瞻 {} 句；五个方面覆盖 {} 个，绝对化结论 {} 处"
    ).format(*counted)
    en = (
        "{} statements; {} describe movements, {} give a cause, {} go a layer deeper; counter-"
        "evidence {}, sensitivity {}, forward view {}; {} of five areas covered, {} absolute claims"
    ).format(*counted)
    return Grade(value, zh, en)


def professionalism(_prompt: str, _report: str, read: Report) -> Grade:
    """Words of the trade against words of the street, scopes, periods, benchmarks, risks."""
    count = len(read.statements)
    if not count:
        return Grade(0.0, "没有对公司的陈述", "no statement about the company")
    terms, breadth = read.analysed("term"), len(lexicon("term").distinct(read.text))
    lay, generic = read.share("lay"), read.share("generic")
    misuse = lexicon("misuse").count(read.text)
    scopes, benchmarks = read.hits("definition"), read.hits("benchmark")
    opinions, risks = read.hits("opinion"), read.hits("risk")
    periods, vague = read.share("period"), _vague(read)
    told = len(read.told())
    value = (
        1.0
        + 1.2 * _upto(terms, 0.5)
        + 0.6 * _upto(breadth / read.spread(), 3.2)
        + 0.3 * _upto(scopes / told, 0.03)
        + 0.4 * _upto(benchmarks / told, 0.02)
        + 0.25 * _upto(opinions / told, 0.03)
        + 0.2 * _upto(risks / told, 0.03)
        + 0.2 * _upto(periods, 0.1)
        - 1.5 * _upto(lay, 0.2)
        - 0.5 * _upto(generic, 0.2)
        - 2.2 * _upto(max(0.0, vague - 0.08), 0.6)
        - 0.7 * _upto(misuse, 2)
    )
    counted = (
        f"{terms:.0%}|{breadth}|{scopes}|{benchmarks}|{opinions}|{risks}|{lay:.0%}|{generic:.0%}|{vague:.0%}|"
        f"{misuse}"
    ).split("|")
    zh = (
        "{} 的分析句使用专业术语（{} 种），交代口径 {} 处，对标 {} 处，区分事实与判断 {} 处，"
        "风险 {} 处；外行说法占 {}，空泛说法占 {}，含糊说法占 {}，术语误用 {} 处"
    ).format(*counted)
    en = (
        "{} of analytical statements use terms of the trade ({} of them); scopes stated {}, "
        "benchmarks {}, fact kept apart from opinion {}, risks {}; lay wording in {}, "
        "boilerplate in {}, vague wording in {}, misused terms {}"
    ).format(*counted)
    return Grade(value, zh, en)


def _vague(read: Report) -> float:
    """Share of quantities that are put in words instead of figures."""
    vague, sharp = len(read.blurred()), len(read.figures())
    return vague / (vague + sharp) if vague + sharp else 1.0


@lru_cache(maxsize=4)
def _facts(prompt: str) -> Facts:
    return read_facts(prompt)


def accuracy(prompt: str, report: str, read: Report) -> Grade:
    """Figures that agree with the tables, figures that do not, and places without a figure."""
    verdicts = verify(_facts(prompt), report)
    right = sum(v.status == "verified" for v in verdicts)
    wrong = [v for v in verdicts if v.status == "wrong"]
    checked = right + len(wrong)
    share = len(wrong) / checked if checked else 0.0
    vague = _vague(read)
    value = _TOP - _errors(share, len(wrong)) - 4.0 * max(0.0, vague - 0.08)
    value = min(value, 0.4 + 0.6 * checked)
    example_zh = f"，例如“{wrong[0].claim.text}”（{wrong[0].reason}）" if wrong else ""
    example_en = f', such as "{wrong[0].claim.text}" ({wrong[0].reason})' if wrong else ""
    zh = (
        f"可核对的数字 {checked} 个，与报表不符 {len(wrong)} 个{example_zh}；"
        f"该有数字而含糊的陈述占 {vague:.0%}"
    )
    en = (
        f"{checked} figures could be checked, {len(wrong)} disagree with the tables{example_en}; "
        f"{vague:.0%} of quantities are vague"
    )
    return Grade(value, zh, en)


def _errors(share: float, count: int) -> float:
    """What wrong figures cost: a slip one level, a fifth two, two fifths three, most of them all.

    >>> [round(_errors(share, 9)) for share in (0.02, 0.05, 0.2, 0.4, 0.7)]
    [1, 1, 2, 3, 4]
    """
    if not count:
        return 0.0
    points = ((0.0, 0.6), (0.1, 1.2), (0.2, 2.0), (0.4, 3.0), (0.6, 4.0))
    for (low, cost), (high, next_cost) in pairwise(points):
        if share <= high:
            return cost + (next_cost - cost) * (share - low) / (high - low)
    return _TOP


DIMENSIONS: Mapping[str, Callable[[str, str, Report], Grade]] = {
    "depth": depth,
    "professionalism": professionalism,
    "accuracy": accuracy,
}
"""What this judge can grade, by the dimension's name."""
