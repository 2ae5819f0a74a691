"""Numeric claims of a report checked against the tables of its prompt, in Chinese and English.

facts = read_facts(prompt)            # what the tables say
for verdict in verify(facts, report): # what the report says about it
    print(verdict.status, verdict.claim.text, verdict.reason)
"""

from reward_model.checks.facts import Facts, Figure, read_facts
from reward_model.checks.items import Item, find_item, items
from reward_model.checks.periods import Period, parse_period

__all__ = [
    "Facts",
    "Figure",
    "Item",
    "Period",
    "find_item",
    "items",
    "parse_period",
    "read_facts",
]
