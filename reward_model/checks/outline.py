"""What headings and the lines that introduce lists say of the lines under them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from reward_model.checks import lexicon as lx
from reward_model.checks.columns import Scope
from reward_model.checks.dates import without_periods
from reward_model.checks.kinds import NOT_A_FACT
from reward_model.checks.periods import Period, find_periods
from reward_model.checks.scene import Scene

GENERIC = re.compile(
    r"分析|洞察|结论|能力|风险|指标|概览|表现|情况|成效|质量|效率|结构|趋势|对比|"
    r"摘要|亮点|问题|预警|提示|驱动"
    r"|因素|健康|水平|变化|异常|核心|关键|管理|控制|评估|数据|依据|说明|业绩|盈利|"
    r"偿债|营运|成长|现金流|利润"
    r"|收入|费用|成本|资产|负债|周转|判断|总结|解读|特征|来源|投入|增长|预算|目标|行业|警示|归因"
    r"|summary|overview|performance|profitab|liquidity|solvency|leverage|efficien|"
    r"growth|cash|margin"
    r"|cost|expense|income|revenue|highlights?|key|risk|insight|conclusion|trend|findings?|returns?"
    r"|results?|balance",
    re.I,
)
"""Words of headings and list leads that name a topic, not somebody."""
_PLAIN = re.compile(
    r"解析|报告|公司|集团|背景|基本|财务|经营|战略|市场|综合|总体|整体|概述|简介|前言|附|建议|展望|优势|影响|"
    r"\b(?:report|analysis|review|financial|company|group|discussion|introduction|statements?|"
    r"earnings|position|notes?|operations|outlook|appendix|conclusions?|recommendations?|"
    r"business|annual|quarterly|full|year|fiscal|context|drivers?|changes?|comparison|data|tables?|"
    r"figures?|metrics|earnings|sheet|sales|profit|loss|debt|equity|assets|liabilities|working|"
    r"capital|spending|investments?|dividends?|tax|taxes|ratios?|health|quality|strengths?|"
    r"weaknesses|assessment|executive|management)\b",
    re.I,
)
_MARK = re.compile(r"\s*(#{1,6})\s|\s*(?=\*\*[^*]+\*\*\s*[：:]?\s*$)")
_LONGEST = 400
"""Characters of a heading that are read."""
_NUMBERED = re.compile(r"^[\s#*\-•·]*(?:[\d.]+|[（(]?[一二三四五六七八九十]+[）)]?[、.．]?)?\s*")
_LISTED = re.compile(r"\s*(?:[-*•·]|\d+[.、)])\s")


@dataclass(slots=True)
class Outline:
    """What stands above the line being read."""

    scene: Scene
    doubt: str = ""
    """`under a heading about the future`, where that is so."""
    level: int = 9
    period: Period | None = None
    scope: Scope = ""
    intro_scope: Scope = ""
    intro_doubt: str = ""
    intro_about: str = ""
    intro_indent: int = -1
    about: list[tuple[int, str]] = field(default_factory=list)
    """Level and name of the headings that name a segment, product or company."""

    def read(self, line: str, raw: str) -> None:
        """Take in a line before its claims are read; `raw` has its emphasis marks."""
        line, raw = line[:_LONGEST], raw[:_LONGEST]
        mark = _MARK.match(line) if "#" in line[:8] else None
        if mark or _MARK.match(raw):
            self._heading(line, len(mark[1]) if mark and mark[1] else 7)
        indent = len(line) - len(line.lstrip())
        if line.strip() and not (_LISTED.match(line) and indent >= self.intro_indent):
            self.intro_scope, self.intro_doubt, self.intro_about = "", "", ""

    def introduce(self, line: str) -> None:
        """A line that ends in a colon speaks for the list it introduces."""
        if (
            len(line) > _LONGEST
            or line.lstrip().startswith("#")
            or not re.search(r"[：:]\s*$", line)
        ):
            return
        self.intro_scope = "benchmark" if lx.BENCHMARK.search(line) else ""
        self.intro_doubt = NOT_A_FACT if lx.HYPOTHETICAL.search(line) else ""
        self.intro_about = self._name(line)
        self.intro_indent = len(line) - len(line.lstrip())

    @property
    def stranger(self) -> str:
        """The doubt on the company's own items under a heading that names somebody else."""
        name = self.intro_about or next((n for _, n in reversed(self.about) if n), "")
        return f"under a heading about {name[:20]}" if name else ""

    def _heading(self, line: str, level: int) -> None:
        hypothetical = bool(lx.HYPOTHETICAL_HEADING.search(line))
        if level <= 6:
            if hypothetical and (level <= self.level or not self.doubt):
                self.doubt, self.level = "under a heading about the future", level
            elif not hypothetical and level <= self.level:
                self.doubt, self.level = "", 9
            found = find_periods(line)
            if len(found) == 1:
                self.period = found[0][2]
            elif level <= 2:
                self.period = None
            self.scope = "ytd" if lx.YTD.search(line) else ""
        while self.about and self.about[-1][0] >= level:
            self.about.pop()
        self.about.append((level, self._name(line) if level > 1 else ""))

    def _name(self, line: str) -> str:
        """Whom a heading names beside items, topics and the company itself."""
        text = re.sub(
            r"^[\s#*\-•·]*(?:[\d.]+|[（(]?[一二三四五六七八九十]+[）)]?[、.．]?)?\s*", "", line
        )
        text = self.scene.without_names(without_periods(text)).strip(" *：:")
        found = list(self.scene.labels.find(text))
        named = next((key[1:] for *_, key in found if key.startswith("@")), "")
        if named or not text:
            return named
        if GENERIC.search(text) or _PLAIN.search(text) or found:
            return ""
        return lx.leftover(text)
