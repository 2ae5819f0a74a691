"""Texts that an export is scored on again, and how they reach the exported model.

`sample_texts(path, count, seed)` draws from a file, `BUILT_IN` stands in where there is none;
`token_rows(...)` cuts encoded texts into padded batches as any consumer would send them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reward_model.data.tokens.inputs import Encoded
from reward_model.model.batches import collate, token_batches
from reward_model.records import Text, as_text, read_jsonl
from reward_model.records.rows import parse_row


@dataclass(frozen=True)
class Sampled:
    """One response to one prompt."""

    prompt: Text
    response: Text
    group: str
    """Equal for texts of one prompt."""


_PROMPTS = (
    "Analyse the annual report of a manufacturer: revenue 14.7 billion, up 12.3%.",
    "分析该公司2023年年报：营业收入147亿元，同比增长12.3%，毛利率下降1.8个百分点。",
)
_RESPONSES = (
    "Revenue rose 12.3% on volume, not on price; receivables grew faster than sales, which points "
    "at looser credit and should be held against the change in allowances.",
    "The company did well.",
    "营业收入增长主要来自销量，单价基本持平；应收账款增速高于收入，需结合坏账准备核对。",
    "公司表现良好。",
    "净利率2.1%，同比下降0.9个百分点。" * 8,
    "Gross margin fell by 1.8 percentage points while inventories rose by a fifth. " * 6,
)
BUILT_IN: tuple[Sampled, ...] = tuple(
    Sampled(prompt, response, prompt) for prompt in _PROMPTS for response in _RESPONSES
)
"""Long and short, in both languages: enough to see that two models compute the same."""


def sample_texts(path: Path, count: int, seed: int) -> list[Sampled]:
    """At most `count` responses of a file, drawn by reservoir; those without text are passed over.

    Raises:
        UserError: the file holds neither responses nor pairs.
    """
    draw = random.Random(f"{seed}:sample")
    kept: list[Sampled] = []
    seen = 0
    for line in read_jsonl(path):
        row = parse_row(line.value, path=path, line=line.number)
        for text in row.completions:
            if not as_text(text).strip():
                continue
            one = Sampled(row.prompt, text, row.key or f"line:{line.number}")
            seen += 1
            if len(kept) < count:
                kept.append(one)
            elif (at := draw.randrange(seen)) < count:
                kept[at] = one
    return kept


def token_rows(
    encoded: Sequence[Encoded], pad: int, budget: int = 4096, *, answers: bool = False
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Padded batches, with the places of their texts in `encoded`."""
    lengths = {i: len(one.input_ids) for i, one in enumerate(encoded)}
    for rows in token_batches(lengths, budget):
        yield rows, collate([encoded[i] for i in rows], pad, answers=answers)


@torch.inference_mode()
def outputs(
    run: Callable[[dict[str, Tensor]], Tensor],
    encoded: Sequence[Encoded],
    pad: int,
    *,
    answers: bool = False,
) -> Tensor:
    """What a model gives for each text, in float32, in the order of `encoded`."""
    found: list[Tensor] = [torch.empty(0)] * len(encoded)
    for rows, batch in token_rows(encoded, pad, answers=answers):
        for i, row in zip(rows, run(batch).detach().float().cpu(), strict=True):
            found[i] = row
    return torch.stack(found)
