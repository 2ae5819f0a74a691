"""What the embedded writer makes of a set of statements: values, changes and their wording.

Every number comes from `reward_model.checks.Facts`; nothing is invented.
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from reward_model.checks import Facts, Period, items
from reward_model.llm.offline.phrases import Phrases, read_toml


class Style(NamedTuple):
    """How one report writes its figures."""

    decimals: int
    """After the point of a percentage."""
    large: bool
    """Money in 亿元 or billion where it is large enough."""
    share: int
    """Decimals of money."""


def draw_style(rng: random.Random) -> Style:
    """A style for one report."""
    return Style(rng.choice([1, 1, 2]), rng.random() < 0.6, rng.choice([1, 2, 2]))


def style_of(report: str) -> Style:
    """The style a report was written in."""
    percent = re.search(r"\d\.(\d+)%", report)
    share = re.search(r"\d\.(\d+)\s?(?:万元|million)", report)
    return Style(
        len(percent[1]) if percent else 1,
        "亿元" in report or "billion" in report,
        len(share[1]) if share else 2,
    )


class Analysis:
    """The statements of one company, read for one report."""

    def __init__(self, facts: Facts, phrases: Phrases, style: Style) -> None:
        self.facts, self.phrases, self.style = facts, phrases, style
        self.words = phrases.words
        self.language = phrases.language
        years = [p for p in facts.periods() if p.kind == "year"] or facts.periods()
        main = facts.main_period
        known = sorted(p for p in years if main is None or p <= main)
        self.periods = known[-3:]
        """Oldest first."""

    @property
    def now(self) -> Period:
        """The period the report is about."""
        return self.periods[-1]

    @property
    def before(self) -> Period:
        """The period it is compared with."""
        return self.periods[-2]

    def label(self, period: Period) -> str:
        """A period in words."""
        return period.label(self.language)

    def next_label(self) -> str:
        """The period after the last."""
        return self.label(Period.of_year(self.now.year + 1))

    def value(self, item: str, period: Period | None = None) -> float | None:
        """A line or a ratio."""
        return self.facts.value(item, period or self.now)

    def known(self, item: str) -> bool:
        """Whether an item can be compared over two periods."""
        return (
            len(self.periods) > 1
            and self.value(item) is not None
            and self.value(item, self.before) is not None
        )

    def name(self, item: str) -> str:
        """The display name of an item inside a sentence."""
        name = items()[item].name(self.language)
        if self.language == "zh" or name.split()[0].isupper() or "&" in name.split()[0]:
            return name
        return name[0].lower() + name[1:]

    def money(self, value: float) -> str:
        """Money in words: 12.34亿元, CNY 1,234.5 million."""
        style = self.style
        if self.language == "zh":
            if style.large and abs(value) >= 1e8:
                return f"{value / 1e8:,.2f}{self.words['hundred_million']}"
            return f"{value / 1e4:,.{style.share}f}{self.words['ten_thousand']}"
        currency = self.facts.currency or "CNY"
        sign = "-" if value < 0 else ""
        if style.large and abs(value) >= 1e9:
            return f"{currency} {sign}{abs(value) / 1e9:,.2f} billion"
        return f"{currency} {sign}{abs(value) / 1e6:,.{style.share}f} million"

    def percent(self, value: float) -> str:
        """A share as a percentage."""
        return f"{value * 100:.{self.style.decimals}f}%"

    def points(self, value: float) -> str:
        """A difference of percentages, without its sign."""
        gap = "" if self.language == "zh" else " "
        return f"{abs(value) * 100:.{self.style.decimals}f}{gap}{self.words['points']}"

    def show(self, item: str, value: float) -> str:
        """A value in the unit of its item."""
        unit = items()[item].unit
        gap = "" if self.language == "zh" else " "
        if unit == "money":
            return self.money(value)
        if unit == "percent":
            return self.percent(value)
        if unit == "per_share":
            return f"{value:.2f}{gap}{self.words['share']}"
        return f"{value:.{2 if unit == 'times' else 1}f}{gap}{self.words[unit]}"

    def growth(self, item: str) -> float | None:
        """Relative growth, where both values are positive and the base is not tiny."""
        now, base = self.value(item), self.value(item, self.before)
        if now is None or base is None or base <= 0 or now <= 0:
            return None
        growth = now / base - 1
        return growth if abs(growth) < 5 else None

    def direction(self, item: str) -> str:
        """The direction word of an item."""
        now, base = self.value(item), self.value(item, self.before)
        assert now is not None
        assert base is not None
        unit = items()[item].unit
        up = now > base
        if unit == "money":
            return str(self.words["up_money" if up else "down_money"])
        if unit == "percent":
            return str(self.words["up_ratio" if up else "down_ratio"])
        if self.show(item, now) == self.show(item, base):
            return str(self.words["flat_level"])
        return str(self.words["up_level" if up else "down_level"])

    def change(self, item: str) -> tuple[str, str] | None:
        """(direction, size) of an item's change: 12.3% for money, points for percentages."""
        if not self.known(item):
            return None
        unit = items()[item].unit
        now, base = self.value(item), self.value(item, self.before)
        assert now is not None
        assert base is not None
        if unit == "percent":
            shown = self.points(now - base)
            return (self.direction(item), shown) if re.search("[1-9]", shown) else None
        growth = self.growth(item)
        if growth is None or abs(growth) < 0.001:
            return None
        word = self.words["up_money" if growth > 0 else "down_money"]
        return str(word), self.percent(abs(growth))

    def figure(self, item: str, rng: random.Random) -> str:
        """A sentence that states an item and its change."""
        now, base = self.value(item), self.value(item, self.before)
        assert now is not None
        assert base is not None
        said = {
            "y": self.label(self.now), "p": self.label(self.before), "item": self.name(item),
            "v": self.show(item, now), "v0": self.show(item, base),
        }  # fmt: skip
        unit = items()[item].unit
        if unit == "percent":
            change = self.change(item)
            if change is None:
                return self.phrases.say("figure.pair", rng, **said)
            said |= {"dir": change[0], "d": change[1]}
            return self.phrases.say("figure.ratio", rng, **said)
        if unit != "money":
            return self.phrases.say("figure.level", rng, dir=self.direction(item), **said)
        growth = self.growth(item)
        if growth is None:
            swing = self.swing(now, base)
            slot = "figure.swing" if swing else "figure.pair"
            return self.phrases.say(slot, rng, swing=swing, **said)
        said |= {"dir": self.direction(item), "g": self.percent(abs(growth))}
        return self.phrases.say("figure.money", rng, **said)

    def swing(self, now: float, base: float) -> str:
        """A change of sign or between negatives, in words; empty for anything else."""
        if now > 0 >= base:
            return str(self.words["turned_positive"])
        if base > 0 >= now:
            return str(self.words["turned_negative"])
        if now < 0 and base < 0:
            return str(self.words["loss_narrowed" if now > base else "loss_widened"])
        return ""

    def pair(self, item: str, rng: random.Random, *, earlier: bool = False) -> str | None:
        """A sentence that only sets two periods side by side."""
        if len(self.periods) < 2 + earlier:
            return None
        first, second = self.periods[-2 - earlier], self.periods[-1 - earlier]
        now, base = self.value(item, second), self.value(item, first)
        if now is None or base is None:
            return None
        return self.phrases.say(
            "figure.pair", rng, y=self.label(second), p=self.label(first), item=self.name(item),
            v=self.show(item, now), v0=self.show(item, base),
        )  # fmt: skip

    def shape(self, item: str) -> str:
        """The course over three periods; empty where one is missing."""
        values = [self.value(item, p) for p in self.periods]
        if len(values) < 3 or any(v is None for v in values):
            return ""
        a, b, c = (float(v) for v in values if v is not None)
        key = ("rising" if c > b else "peak") if b > a else ("dip" if c > b else "falling")
        return str(self.words[key])

    def trend(self, item: str, rng: random.Random) -> str | None:
        """A sentence on three periods."""
        shape = self.shape(item)
        if not shape:
            return None
        if rng.random() < 0.4:
            return self.phrases.say("trend.words", rng, item=self.name(item), shape=shape)
        said = {f"p{i}": self.label(p) for i, p in enumerate(self.periods, 1)}
        for i, p in enumerate(self.periods, 1):
            value = self.value(item, p)
            assert value is not None
            said[f"v{i}"] = self.show(item, value)
        return self.phrases.say("trend.three", rng, item=self.name(item), shape=shape, **said)

    def better(self, item: str, good: int) -> bool:
        """Whether an item moved to the good side; for neutral items, whether it grew."""
        now, base = self.value(item), self.value(item, self.before)
        assert now is not None
        assert base is not None
        return (now > base) == (good >= 0)

    def trend_of(self, item: str) -> str:
        """`up` or `down`: where an item moved, good or bad."""
        return "up" if self.better(item, 1) else "down"

    def outgrows(self, first: str, second: str) -> bool:
        """Whether one line grew faster than another."""
        return (self.growth(first) or 0.0) > (self.growth(second) or 0.0)

    def restate(self, area: str, rng: random.Random) -> str | None:
        """A sentence that repeats a line of the statements of an area."""
        lines = [i for i in read_toml("metrics.toml")["lines"].get(area, ()) if self.known(i)]
        if not lines:
            return None
        return self.pair(rng.choice(lines), rng, earlier=rng.random() < 0.4)
