"""Composing a report: which areas and metrics, which sentences about each, in which layout."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from reward_model.checks import items
from reward_model.llm.base import RefusedError
from reward_model.llm.offline.analysis import Analysis
from reward_model.llm.offline.dress import Dresser, draw_layout
from reward_model.llm.offline.layout import render
from reward_model.llm.offline.phrases import Phrases, read_toml

_FINANCE = "finance"
_UNFIT = {"gross_margin", "dio", "dso", "cash_collection_ratio", "ocf_to_revenue", "free_cash_flow"}
"""What a financial institution's statements do not support."""


def write(analysis: Analysis, parts: dict[str, str], rng: random.Random) -> str:
    """A golden report."""
    return _Report(analysis, parts, rng).text()


class _Report:
    def __init__(self, analysis: Analysis, parts: dict[str, str], rng: random.Random) -> None:
        self.a, self.rng = analysis, rng
        self.said: Phrases = analysis.phrases
        self.data = read_toml("metrics.toml")
        self.company = parts["company"]
        field = parts.get("sector", "")
        known = self.said.fields
        self.field: dict[str, Any] = known[field if field in known else "manufacturing"]
        self.is_finance = field == _FINANCE
        self.odds: dict[str, float] = {
            **self.data["focus"]["default"],
            **self.data["focus"].get(parts.get("focus", ""), {}),
        }
        self.defined: set[str] = set()
        self.used: set[str] = set()
        self.tone: dict[str, bool] = {}
        self.layout = draw_layout(rng)

    def chance(self, role: str) -> bool:
        return self.rng.random() < self.odds[role]

    def text(self) -> str:
        areas = self.pick_areas()
        if not areas:
            raise RefusedError("the embedded writer finds no figures to compare in this prompt")
        bodies = {area: list(self.area(area, metrics)) for area, metrics in areas.items()}
        sections: list[tuple[str, list[list[str]]]] = []
        basis = list(self.basis())
        overview = [self.opening(list(areas))]
        if self.rng.random() < 0.4:
            overview.append(self.closing())
            closing: list[str] = []
        else:
            closing = [self.closing()]
        if basis and self.rng.random() < 0.4:
            overview, basis = overview + basis, []
        sections.append(("overview", [overview]))
        sections += list(bodies.items())
        if basis:
            sections.insert(self.rng.choice([1, len(sections)]), ("basis", [basis]))
        risks = [
            self.say("risk.text", risk=r)
            for r in self.rng.sample(self.field["risk"], self.rng.choice([1, 2, 2, 3]))
        ]
        if self.chance("risk"):
            sections.append(("risks", [risks]))
        if closing:
            sections.append(("conclusion", [closing]))
        dresser = Dresser(self.a, self.layout, self.company, self.rng, self.fits)
        return render(dresser.lay_out(sections), self.said.language)

    def pick_areas(self) -> dict[str, list[str]]:
        """Areas with something to say, and two or three metrics of each."""
        found: dict[str, list[str]] = {}
        taken: set[str] = set()
        for area, metrics in self.data["areas"].items():
            known = [
                m
                for m in metrics
                if m not in taken
                and self.a.known(m)
                and self.fits(m)
                # Only where there is no split of the balance sheet does cash stand for solvency.
                and (area, m) != ("solvency", "closing_cash" if not self.is_finance else "")
            ]
            # What has drivers of its own (expenses, capital expenditure) never stands alone.
            lead = [m for m in known if m not in self.said.fields["expense"]] or known
            drawn = {self.rng.choice(lead)} if lead else set()
            if self.rng.random() < 0.65 and len(known) > 1:
                drawn.add(self.rng.choice([m for m in known if m not in drawn]))
            chosen = [m for m in known if m in drawn]
            if chosen:
                found[area] = chosen
                taken.update(chosen)
        optional = [area for area in found if area != "profitability"]
        self.rng.shuffle(optional)
        keep = {"profitability", *optional[:2]}
        keep |= {area for area in optional[2:] if self.chance("areas")}
        order = [area for area in found if area in keep]
        if self.rng.random() < 0.4:
            self.rng.shuffle(order)
        return {area: found[area] for area in order}

    def fits(self, metric: str) -> bool:
        if not self.is_finance:
            return metric != "operating_margin" or not self.a.known("gross_margin")
        return metric not in _UNFIT

    def area(self, area: str, metrics: list[str]) -> Iterator[list[str]]:
        """Groups of sentences, one a metric."""
        specs = self.data["areas"][area]
        plain = [m for m in metrics[:2] if m not in self.said.fields["expense"]]
        lead = self.rng.choice(plain or metrics)
        self.tone[area] = self.a.better(metrics[0], specs[metrics[0]]["good"])
        for metric in metrics:
            yield list(self.metric(area, metric, specs[metric], full=metric == lead))

    def metric(self, area: str, item: str, spec: dict[str, Any], *, full: bool) -> Iterator[str]:
        a, rng = self.a, self.rng
        name = a.name(item)
        if (full or rng.random() < 0.3) and self.chance("definition"):
            yield from self.define(item)
        yield a.figure(item, rng)
        if self.chance("trend") and (trend := a.trend(item, rng)):
            yield trend
        # Good reports repeat themselves a little, too: a plain restatement is not a flaw by itself.
        if self.chance("restate") and (again := a.restate(area, rng)):
            yield again
        if self.chance("flat"):
            yield self.say(rng.choice(["flat.cause", "flat.cause", "flat.view"]), item=name)
        if self.chance("formula"):
            yield from self.formula(item, spec)
        direction = a.direction(item)
        if direction == a.words["flat_level"]:
            return  # What did not move needs no reason.
        better = a.better(item, spec["good"])
        tone = "up" if better else "down"
        own = self.said.fields["expense"].get(item)
        drivers = list(own[a.trend_of(item)] if own else self.field["driver"][area][tone])
        rng.shuffle(drivers)
        explained = self.parts(item, spec, direction)
        if self.chance("cause1") or full:
            yield explained or self.say(
                "cause1.driver", item=name, dir=direction, driver=drivers.pop()
            )
        if full and self.chance("cause2") and drivers:
            yield self.say("cause2.driver", driver=drivers.pop())
            if self.chance("cause3") and own is None:
                yield self.say("cause3.root", root=self.fresh(self.field["root"][tone]))
        if full and self.chance("counter"):
            yield from self.counter(item, better)
        if "pp" in spec and self.chance("sensitivity"):
            yield from self.sensitivity(item, *spec["pp"])
        if self.chance("benchmark") and item in self.field.get("benchmark", {}):
            yield self.benchmark(item)
        if full and self.chance("insight"):
            yield self.say(
                "insight.text",
                insight=self.fresh(self.field["insight"]),
                industry=self.field["industry"],
            )
        if full and self.chance("opinion"):
            yield self.say("opinion.text", op=rng.choice(self.said.fields["opinion"][area][tone]))
        if full and self.chance("forward"):
            yield self.say(
                "forward.cond",
                y1=a.next_label(),
                item=name,
                cond=rng.choice(self.field["cond"]),
            )

    def fresh(self, choices: list[str]) -> str:
        """One of the choices, those not used yet first."""
        said = self.rng.choice([c for c in choices if c not in self.used] or choices)
        self.used.add(said)
        return said

    def define(self, item: str) -> Iterator[str]:
        meaning = self.said.fields["meaning"].get(item)
        if meaning and item not in self.defined:
            self.defined.add(item)
            yield self.say("definition.term", term=self.a.name(item), meaning=meaning)

    def formula(self, item: str, spec: dict[str, Any]) -> Iterator[str]:
        a = self.a
        ratio = items()[item].formula[0] if items()[item].formula else ""
        top, _, bottom = ratio.partition(" / ")
        if not bottom or not all(part in items() for part in (top, bottom)):
            return
        up, down, value = a.value(top), a.value(bottom), a.value(item)
        if up is not None and down is not None and value is not None:
            yield self.say(
                "formula.ratio", y=a.label(a.now), item=a.name(item),
                a=a.name(top), b=a.name(bottom), va=a.show(top, up),
                vb=a.show(bottom, down), v=a.show(item, value),
            )  # fmt: skip

    def parts(self, item: str, spec: dict[str, Any], direction: str) -> str | None:
        """The direct cause, where two lines explain the direction."""
        if "parts" not in spec:
            return None
        first, second = spec["parts"]
        one, two = self.a.change(first), self.a.change(second)
        if one is None or two is None:
            return None
        up, faster = self.a.better(item, 1), self.a.outgrows(first, second)
        if faster == (up if spec.get("inverse") else not up):
            return None  # Opening balances or sign decide here; these two lines do not explain it.
        return self.say(
            "cause1.pair", y=self.a.label(self.a.now), item=self.a.name(item), dir=direction,
            a=self.a.name(first), adir=one[0], ag=one[1],
            b=self.a.name(second), bdir=two[0], bg=two[1],
        )  # fmt: skip

    def counter(self, item: str, better: bool) -> Iterator[str]:
        """Evidence that points the other way."""
        found = [
            metric
            for metrics in self.data["areas"].values()
            for metric, spec in metrics.items()
            if spec["good"] and metric != item and self.a.known(metric) and self.fits(metric)
            and items()[metric].unit in {"money", "percent"}
            and self.a.change(metric) and self.a.better(metric, spec["good"]) != better
        ]  # fmt: skip
        if found:
            metric = self.rng.choice(found)
            change = self.a.change(metric)
            assert change is not None
            yield self.say(
                "counter.metric",
                y=self.a.label(self.a.now),
                item=self.a.name(metric),
                dir=change[0],
                g=change[1],
            )

    def sensitivity(self, item: str, base: str, effect: str) -> Iterator[str]:
        amount = self.a.value(base)
        if amount is not None and amount > 0:
            points = self.rng.choice([1, 2, 3])
            gap = "" if self.said.language == "zh" else " "
            yield self.say(
                "sensitivity.pp", item=self.a.name(item), y=self.a.label(self.a.now),
                pp=f"{points}{gap}{self.a.words['points' if points > 1 else 'point']}",
                base=self.a.name(base), effect=self.a.name(effect),
                v=self.a.money(amount * points / 100),
            )  # fmt: skip

    def benchmark(self, item: str) -> str:
        low, high = self.field["benchmark"][item]
        value = self.a.value(item)
        assert value is not None
        percent = items()[item].unit == "percent"
        shown = value * 100 if percent else value
        pos = "above" if shown > high else "below" if shown < low else "inside"
        unit = "%" if percent else self.a.words["times"]
        gap = "" if percent or self.said.language == "zh" else " "
        joint = (
            f"{low}%—{high}%"
            if percent and self.said.language == "zh"
            else f"{low}-{high}{gap}{unit}"
        )
        return self.say(
            "benchmark.range", industry=self.field["industry"], range=joint,
            item=self.a.name(item), pos=str(self.a.words[pos]),
        )  # fmt: skip

    def basis(self) -> Iterator[str]:
        """What is missing, what is unusual, what ties out."""
        a, words = self.a, self.a.words
        if self.chance("disclosure"):
            missing = [
                ("cost", "cost_of_sales"), ("balance", "current_assets"), ("stock", "inventory")
            ]  # fmt: skip
            missing = missing[:2] if self.is_finance else missing
            gaps = [key for key, item in missing if a.value(item) is None]
            for key in gaps[:2]:
                yield self.say(
                    "disclosure.missing",
                    what=words[f"missing_{key}"],
                    so=words[f"effect_{key}"],
                )
            for item in ("net_profit", "operating_cash_flow", "revenue"):
                growth = a.growth(item)
                if growth is not None and abs(growth) > 0.6:
                    what = words["unusual_growth"].format(
                        y=a.label(a.now),
                        item=a.name(item),
                        dir=a.direction(item),
                        g=a.percent(abs(growth)),
                    )
                    yield self.say("disclosure.unusual", what=what)
                    break
        if self.chance("crosscheck"):
            yield from self.crosscheck()

    def crosscheck(self) -> Iterator[str]:
        checks = {
            "cash": (["opening_cash", "net_change_in_cash"], [1, 1], "closing_cash"),
            "profit": (["profit_before_tax", "income_tax"], [1, -1], "net_profit"),
            "flow": (
                ["operating_cash_flow", "investing_cash_flow", "financing_cash_flow"],
                [1, 1, 1],
                "net_change_in_cash",
            ),
            "balance": (["total_liabilities", "equity"], [1, 1], "total_assets"),
        }
        for key in self.rng.sample(sorted(checks), 2):
            lines, signs, total = checks[key]
            values = [self.a.value(line) for line in lines]
            right = self.a.value(total)
            if right is None or any(v is None for v in values):
                continue
            left = sum(s * v for s, v in zip(signs, values, strict=True) if v is not None)
            if key == "flow":
                left += self.a.value("fx_effect") or 0.0
            words = self.a.words
            said = {
                "left": words[f"check_{key}_left"],
                "right": words[f"check_{key}_right"].format(v=self.a.money(right)),
            }
            if abs(left - right) <= 1e-4 * abs(right) + 2e4:
                yield self.say("crosscheck.ok", **said)
            else:
                yield self.say("crosscheck.bad", v=self.a.money(abs(left - right)), **said)

    def opening(self, areas: list[str]) -> str:
        names = [self.said.heading[area][0] for area in areas]
        joint = self.a.words["and"]
        listed = joint.join(names) if self.said.language == "zh" else joint.join(names).lower()
        return self.say(
            "summary.open", company=self.company, areas=listed,
            p1=self.a.label(self.a.periods[0]), p3=self.a.label(self.a.now),
        )  # fmt: skip

    def closing(self) -> str:
        fields = self.said.fields
        better = [area for area, good in self.tone.items() if good] or list(self.tone)[:1]
        worse = [area for area, good in self.tone.items() if not good]
        good = fields["good"][self.rng.choice(better)]
        bad = fields["bad"][self.rng.choice(worse)] if worse else self.a.words["no_bad"]
        if not any(self.tone.values()):
            good = self.a.words["no_good"]
        return self.say("summary.close", company=self.company, good=good, bad=bad)

    def say(self, slot: str, **values: Any) -> str:
        return self.said.say(slot, self.rng, **values)
