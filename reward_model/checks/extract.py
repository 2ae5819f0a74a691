"""All numeric claims of a report, from its tables and its prose."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from reward_model.checks.cells import cell_claims
from reward_model.checks.claims import Claim
from reward_model.checks.flatten import flatten
from reward_model.checks.items import item_names
from reward_model.checks.lexicon import Labels, aliases
from reward_model.checks.prose import prose_claims
from reward_model.checks.scene import Scene
from reward_model.checks.tables import read_tables

# Names that are too common in prose to stand for a statement line on their own.
_NOT_IN_PROSE = frozenset(
    {"equity", "prepayments", "other income", "income tax", "income taxes", "receivables"}
)


@lru_cache(maxsize=32)
def vocabulary(entities: frozenset[str] = frozenset()) -> Labels:
    """A finder of item names (key `item`) and of entity names (key `@label`)."""
    names: dict[str, str] = {}
    owners: dict[str, set[str]] = {}
    for label in entities:
        for alias in aliases(label):
            owners.setdefault(alias.casefold(), set()).add(label)
    for alias, labels in owners.items():
        # A shortened name two entities share names neither; the full name still does.
        exact = next((n for n in labels if n.casefold() == alias), None)
        if exact is not None or len(labels) == 1:
            names[alias] = "@" + (exact or next(iter(labels)))
    for name, item in item_names().items():
        if name not in _NOT_IN_PROSE:
            names[name] = item.key
    return Labels(names)


def extract_claims(
    report: str, entities: Iterable[str] = (), companies: Iterable[str] = ()
) -> list[Claim]:
    """All numeric claims in the order of the text; `entities` are further labels to know,
    `companies` names that stand for whole companies.

    >>> c = extract_claims("2021年营业收入同比下降14.7%，至23.81亿元。")
    >>> [(x.item, x.kind, x.value, x.period.label()) for x in c]
    [('revenue', 'change_pct', -0.147, '2021年'), ('revenue', 'value', 2381000000.0, '2021年')]
    >>> [c] = extract_claims("Net margin rose by 2.4 percentage points in FY2021.")
    >>> c.item, c.kind, c.direction, round(c.value, 3)
    ('net_margin', 'change_pp', 'up', 0.024)
    """

    flat = flatten(report)
    labels = vocabulary(frozenset(entities))
    tables = list(read_tables(flat, flat=True, csv=False))
    scene = Scene(report=report, flat=flat, labels=labels, companies=tuple(companies))
    claims = [c for table in tables for c in cell_claims(table, scene)]
    claims += prose_claims(scene, [(t.start, t.end) for t in tables])
    return sorted(claims, key=lambda c: c.start)
