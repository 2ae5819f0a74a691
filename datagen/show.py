"""What `datagen pairs` prints before it starts: the design as tables, an estimate of the cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datagen.design import Slot
from datagen.requests import Prompts
from datagen.settings import Settings
from reward_model.llm.addresses import clean_name
from reward_model.records.terminal import console, table
from reward_model.rubrics import Rubric, say

REPLY_TOKENS = 2200
"""A report of some fifteen hundred Chinese characters or a thousand English words."""
EDIT_TOKENS = 400
"""Instructions of an edit."""


def show_design(slots: Sequence[Slot], settings: Settings, rubric: Rubric) -> None:
    """The design: edits against severities, and the margins of the other factors."""
    out = console()
    language = settings.languages[0]
    deepest = max(len(d.severities) for d in rubric.degradations)
    severities = ["severity 1", *map(str, range(2, deepest + 1))]
    pairs = f"{len(slots):,} pair{'s' * (len(slots) != 1)}, seed {settings.seed}"
    shown = table(pairs, "edit", *severities, "all")
    cells = Counter((slot.edit, slot.severity) for slot in slots)
    for entry in rubric.degradations:
        row = [cells[entry.name, s] for s in range(1, deepest + 1)]
        if not any(row):
            continue
        name = f"{entry.name} {say(entry.title, language)}" if language == "zh" else entry.name
        shown.add_row(name, *map(str, row), str(sum(row)))
    for rewrite in rubric.rewrites:
        count = cells[rewrite.name, 0]
        if count:
            shown.add_row(f"neutral: {rewrite.name}", *[""] * deepest, str(count))
    out.print(shown)
    for title, counts in {
        "fields": Counter(slot.company.field for slot in slots),
        "focuses": Counter(slot.focus for slot in slots),
        "models": Counter(clean_name(settings.llm[slot.model]) for slot in slots),
        "languages": Counter(slot.language for slot in slots),
    }.items():
        listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        out.print(f"{title}: {listed}", markup=False)
    groups = {slot.company.id for slot in slots}
    invented = len({slot.company.id for slot in slots if slot.company.synthetic})
    planted = sum(slot.planted for slot in slots)
    out.print(f"companies: {len(groups):,}, {invented:,} of them invented; pairs with errors "
              f"planted by code: {planted:,}")  # fmt: skip


def show_estimate(
    slots: Sequence[Slot],
    settings: Settings,
    prompts: Prompts,
    out: Path,
    left: Sequence[int] | None = None,
) -> None:
    """Calls, tokens and money that the data set takes, before anything is called.

    Args:
        left: of each pair, how many of its calls no ledger has an answer to; None is all of them.
    """
    from reward_model.llm.estimates import Work, estimate
    from reward_model.llm.prices import Prices, likely_tokens

    prices = Prices.load(Path(settings.prices) if settings.prices else None)
    sample = slots[:: max(1, len(slots) // 20)]
    per_pair = 2 + settings.edit_gold
    calls = Counter[int]()
    for number, slot in enumerate(slots):
        calls[slot.model] += per_pair if left is None else left[number]
    asked = [
        sum(likely_tokens(m.content) for m in prompts.write(slot, 0).messages) for slot in sample
    ]
    edits = [likely_tokens(prompts.tables(slot)) + EDIT_TOKENS for slot in sample]
    write, edit = sum(asked) / len(asked), sum(edits) / len(edits) + REPLY_TOKENS
    terminal = console()
    works = []
    for index, given in enumerate(settings.llm):
        share = calls[index]
        tokens_in = share / per_pair * (write + edit * (per_pair - 1))
        works.append(Work(given, share, tokens_in, share * REPLY_TOKENS))
    lines, _ = estimate(works, prices, base_url=settings.base_url, batch=settings.batch)
    for line in lines:
        terminal.print(line, markup=False)
    terminal.print(f"dry run: nothing was called, nothing written to {out}", markup=False)
