"""Values that would explain a mismatch: another period, another measure, a line of like name."""

from __future__ import annotations

from collections.abc import Iterator

from reward_model.checks.claims import Claim
from reward_model.checks.facts import Facts
from reward_model.checks.items import Item
from reward_model.checks.points import difference, pairs_of, points_of
from reward_model.checks.reading import Reading, periods_of

_SIBLINGS = {
    "cash": ("closing_cash",),
    "closing_cash": ("cash",),
    "cost_of_sales": ("total_operating_cost",),
    "net_profit": ("parent_net_profit", "comprehensive_income"),
    "interest_expense": ("finance_cost",),
    "parent_net_profit": ("net_profit",),
    "operating_profit": ("profit_before_tax",),
    "profit_before_tax": ("operating_profit",),
    "equity": ("liabilities_and_equity",),
    "total_assets": ("liabilities_and_equity",),
    "finance_cost": ("interest_expense",),
}
"""Lines that reports often mean by one another's names."""


def excuses(facts: Facts, claim: Claim, item: Item) -> Iterator[Reading]:
    """Values that would explain a mismatch: another period, another measure of the same line."""
    level = claim.kind in {"value", "ratio"}
    for key in _SIBLINGS.get(item.key, ()):
        for period in periods_of(facts, claim):
            for p in points_of(facts, key, period) if level else ():
                yield Reading(p.value, key, right=False, slack=p.step)
    for period in facts.periods():
        if period == claim.period:
            continue
        if level:
            for point in points_of(facts, item.key, period):
                yield Reading(
                    point.value,
                    f"the figure of {period.label('en')}",
                    right=False,
                    near_only=True,
                    slack=point.step / 2,
                )
    if not level and not claim.source:
        # Nothing dates the change: it may be that of any year.
        for period in facts.periods():
            for now, then in pairs_of(facts, item, period, period.year_ago()):
                for reading in difference(claim, item, now, then, clash=False):
                    yield reading._replace(right=False, sure=False)
    if claim.kind == "change_pct":
        for figure in facts.stated.get(item.key, ()):
            if figure.measure != "value" and figure.period != claim.period:
                yield Reading(
                    figure.value,
                    "the change of another period",
                    right=False,
                    near_only=True,
                    slack=figure.step,
                )
            elif figure.measure != "value":
                other = {"yoy": "mom", "mom": "yoy"}.get(claim.basis)
                if figure.measure != other:
                    yield Reading(
                        figure.value, "another change of the line", right=False, slack=figure.step
                    )
