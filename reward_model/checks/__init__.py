"""Numeric claims of a report checked against the tables of its prompt, in Chinese and English.

facts = read_facts(prompt)             # what the tables say
for verdict in verify(facts, report):  # what the report says about it
    print(verdict.status, verdict.claim.text, verdict.reason)
evidence(prompt, report)               # the same in two sentences
plant(facts, report, "sign", rng)      # an error at a known place
"""

from reward_model.checks.claims import Claim
from reward_model.checks.evidence import VERSION, Summary, evidence, findings, summarize
from reward_model.checks.extract import extract_claims
from reward_model.checks.facts import Facts, read_facts
from reward_model.checks.figures import Figure
from reward_model.checks.items import Item, find_item, items
from reward_model.checks.periods import Period, parse_period
from reward_model.checks.plant import ERROR_KINDS, Planted, plant
from reward_model.checks.verify import Verdict, verify

__all__ = [
    "ERROR_KINDS",
    "VERSION",
    "Claim",
    "Facts",
    "Figure",
    "Item",
    "Period",
    "Planted",
    "Summary",
    "Verdict",
    "evidence",
    "extract_claims",
    "find_item",
    "findings",
    "items",
    "parse_period",
    "plant",
    "read_facts",
    "summarize",
    "verify",
]
