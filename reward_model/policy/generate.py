"""Answers of a policy in fixed blocks: prompts by length, each block with a seed of its own.

What a block answers follows from the prompts, the settings and the seed alone, so that work which
was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from reward_model.model.quiet import quiet
from reward_model.policy.base import Policy

BLOCK = 16
"""Sequences that are written together."""


class Answer(NamedTuple):
    """What a policy said once."""

    text: str
    ids: list[int]
    """With its end token, where it came to one."""
    finished: bool
    """It ended by itself, before the limit."""


class Manner(NamedTuple):
    """How answers are drawn."""

    n: int = 1
    """Answers a prompt."""
    max_new_tokens: int = 256
    temperature: float = 1.0
    """0 takes the likeliest token; 1 draws from the policy itself."""
    top_p: float = 1.0
    seed: int = 0


def blocks(prompts: Sequence[Sequence[int]], n: int) -> list[list[int]]:
    """Positions of the prompts of each block, the shortest first."""
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    size = max(1, BLOCK // n)
    return [order[start : start + size] for start in range(0, len(order), size)]


def answer_blocks(
    policy: Policy, prompts: Sequence[list[int]], manner: Manner, *, skip: int = 0
) -> Iterator[list[tuple[int, list[Answer]]]]:
    """Block by block, each prompt's position with its answers.

    Args:
        policy: who answers.
        prompts: as token ids.
        manner: how.
        skip: blocks that are there already.
    """
    for number, block in enumerate(blocks(prompts, manner.n)):
        if number >= skip:
            found = _answer(policy, [prompts[i] for i in block], manner, number)
            yield list(zip(block, found, strict=True))


def answers(policy: Policy, prompts: Sequence[list[int]], manner: Manner) -> list[list[Answer]]:
    """All answers, in the order of the prompts."""
    found: list[list[Answer]] = [[] for _ in prompts]
    for block in answer_blocks(policy, prompts, manner):
        for place, said in block:
            found[place] = said
    return found


def padded(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (B, T), padded on the left."""
    width = max(1, *(len(row) for row in rows))
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for n, row in enumerate(rows):
        if row:
            ids[n, width - len(row) :] = torch.tensor(list(row))
            mask[n, width - len(row) :] = 1
    return ids.to(device), mask.to(device)


@torch.no_grad()
def _answer(
    policy: Policy, prompts: Sequence[list[int]], manner: Manner, number: int
) -> list[list[Answer]]:
    rows = [prompt for prompt in prompts for _ in range(manner.n)]
    pad = int(policy.tokenizer.pad_token_id)
    # Nothing to read is the end token: a policy that was given no prompt begins behind it.
    rows = [row or [int(policy.tokenizer.eos_token_id)] for row in rows]
    ids, mask = padded(rows, pad, policy.device)
    ends = policy.ends
    how: dict[str, Any] = {
        "do_sample": manner.temperature > 0,
        "max_new_tokens": manner.max_new_tokens,
        "pad_token_id": pad,
        "eos_token_id": sorted(ends),
        "repetition_penalty": 1.0,
    }
    if manner.temperature > 0:
        how |= {"temperature": manner.temperature, "top_p": manner.top_p, "top_k": 0}
    else:
        how |= {"temperature": None, "top_p": None, "top_k": None}
    if policy.prefix is None:
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
    else:
        embeds, whole = policy.behind(ids, mask)
        given = {"inputs_embeds": embeds, "attention_mask": whole}
    devices = [policy.device] if policy.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), quiet():
        torch.manual_seed(_seed(manner.seed, number))
        out = policy.model.generate(**given, **how)
    if policy.prefix is None:
        out = out[:, ids.size(1) :]
    said = [_ended(row, ends) for row in out.tolist()]
    texts = policy.tokenizer.batch_decode([ids for ids, _ in said], skip_special_tokens=True)
    told = [Answer(text, kept, done) for text, (kept, done) in zip(texts, said, strict=True)]
    return [told[i : i + manner.n] for i in range(0, len(told), manner.n)]


def _ended(ids: list[int], ends: set[int]) -> tuple[list[int], bool]:
    for n, token in enumerate(ids):
        if token in ends:
            return ids[: n + 1], True
    return ids, False


def _seed(seed: int, block: int) -> int:
    told = hashlib.blake2b(f"{seed}\0{block}".encode(), digest_size=7).digest()
    return int.from_bytes(told, "big")
