"""The look of a report: headings, bullets or paragraphs, bold figures, a table of key figures."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from reward_model.checks import items
from reward_model.llm.offline.analysis import Analysis
from reward_model.llm.offline.layout import Line


class Layout(NamedTuple):
    heading: str
    """`hash`, `number`, `bold`, `lead`."""
    body: str
    """`prose`, `bullets`, `mixed`."""
    bold: float
    table: bool
    title: bool


def draw_layout(rng: random.Random) -> Layout:
    return Layout(
        rng.choice(["hash", "hash", "number", "bold", "lead"]),
        rng.choice(["prose", "prose", "bullets", "mixed"]),
        rng.choice([0.0, 0.0, 0.3]),
        rng.random() < 0.3,
        rng.random() < 0.75,
    )


class Dresser:
    """Lays out one report."""

    def __init__(
        self, analysis: Analysis, layout: Layout, company: str, rng: random.Random,
        fits: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self.a, self.layout, self.company, self.rng = analysis, layout, company, rng
        self.said, self.fits = analysis.phrases, fits

    def lay_out(self, sections: list[tuple[str, list[list[str]]]]) -> list[Line]:
        lines: list[Line] = []
        layout, rng = self.layout, self.rng
        said = {
            "company": self.company,
            "p1": self.a.label(self.a.periods[0]),
            "p3": self.a.label(self.a.now),
        }
        if layout.title:
            title = rng.choice(self.said.heading["title"]).format_map(said)
            lines += [
                Line("heading", raw=f"# {title}" if layout.heading != "number" else f"**{title}**"),
                Line("blank"),
            ]
        for number, (key, groups) in enumerate(sections):
            words = rng.choice(self.said.heading[key])
            lead = ""
            if layout.heading == "lead":
                colon = "：" if self.said.language == "zh" else ": "
                lead = f"**{words}**{colon}"
            elif layout.heading == "bold":
                lines.append(Line("heading", raw=f"**{words}**"))
            elif layout.heading == "number":
                lines.append(Line("heading", raw=f"{self.said.heading['number'][number]}{words}"))
            else:
                lines.append(Line("heading", raw=f"## {words}"))
            lines += self.body(groups, lead)
            lines.append(Line("blank"))
            if number == 0 and layout.table:
                lines += [*self.table(), Line("blank")]
        return lines

    def body(self, groups: list[list[str]], lead: str) -> Iterator[Line]:
        bullets = self.layout.body == "bullets" or (
            self.layout.body == "mixed" and self.rng.random() < 0.5
        )
        for i, group in enumerate(groups):
            said = [self.dress(s, first=n == 0) for n, s in enumerate(group)]
            mark = lead if i == 0 else ""
            if bullets and len(said) > 1:
                cut = self.rng.randint(1, 2)
                chunks = [said[k : k + cut] for k in range(0, len(said), cut)]
                if mark:
                    yield Line("text", mark, "", tuple(chunks.pop(0)))
                for chunk in chunks:
                    yield Line("text", "- ", "", tuple(chunk))
            else:
                yield Line("text", mark, "", tuple(said))
                yield Line("blank")

    def dress(self, sentence: str, *, first: bool) -> str:
        """A connecting word in front, now and then; a bold figure where the layout has them."""
        found = self.said.recognise(sentence)
        role = found.role if found else ""
        if not first and role in {"figure", "trend"} and self.rng.random() < 0.2:
            sentence = self.said.join(self.rng.choice(self.said.words["connectors"]), sentence)
        if role in {"figure", "cause1"} and self.rng.random() < self.layout.bold:
            sentence = embolden(sentence)
        return sentence

    def table(self) -> Iterator[Line]:
        """A few key figures as a table."""
        wanted = [
            "revenue",
            "net_profit",
            "gross_margin",
            "net_margin",
            "debt_ratio",
            "operating_cash_flow",
        ]
        known = [i for i in wanted if self.a.known(i) and self.fits(i)]
        periods = list(reversed(self.a.periods))
        head = self.rng.choice(self.said.heading["table"])
        yield Line(
            "table", raw=f"| {head} | " + " | ".join(self.a.label(p) for p in periods) + " |"
        )
        yield Line("table", raw="|---" * (len(periods) + 1) + "|")
        for item in known:
            values = [self.a.value(item, p) for p in periods]
            cells = ["-" if v is None else self.a.show(item, v) for v in values]
            yield Line(
                "table",
                raw=f"| {items()[item].name(self.said.language)} | " + " | ".join(cells) + " |",
            )


def embolden(sentence: str) -> str:
    """The first figure of a sentence in bold."""
    return re.sub(r"(?<![\d.,])(-?\d[\d,]*\.\d+(?:%|亿元|万元)?)", r"**\1**", sentence, count=1)
