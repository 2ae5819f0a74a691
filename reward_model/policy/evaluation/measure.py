"""Numbers of a policy: log-probabilities of answers, exact KL along samples, best of n.

`pair_logps(policy, rows)` and `kl(policy, reference, ...)` ask the models; the rest is arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from reward_model.policy.base import Policy
from reward_model.policy.generate import padded
from reward_model.policy.rows import PolicyRow
from reward_model.records.terminal import progress

Floats = NDArray[np.float64]
TOKENS_AT_ONCE = 4096
"""Of a batch that is measured, padding included."""


class Logps(NamedTuple):
    """Of each answer of N rows."""

    sums: Floats
    """(N,): log-probability of the whole answer, nats."""
    tokens: Floats
    """(N,): its tokens, the end token among them."""

    @property
    def means(self) -> Floats:
        """(N,): nats a token."""
        return self.sums / np.maximum(self.tokens, 1)


def answer_logps(policy: Policy, rows: Sequence[PolicyRow], answers: Sequence[str]) -> Logps:
    """Log-probabilities of answers to the prompts of rows, under a policy."""
    pairs = policy.frame.pair_ids([row.prompt for row in rows], answers)
    return ids_logps(policy, pairs)


@torch.no_grad()
def ids_logps(policy: Policy, pairs: Sequence[tuple[list[int], list[int]]]) -> Logps:
    """The same of (prompt, answer) as token ids."""
    sums, tokens = np.zeros(len(pairs)), np.zeros(len(pairs))
    for batch in _batches(pairs, f"likelihoods under {policy.place.name}"):
        rows = [pairs[i][0] + pairs[i][1] for i in batch]
        lengths = [len(pairs[i][1]) for i in batch]
        logits, ids = _scored(policy, rows, lengths)
        logps = logits.float().log_softmax(-1).gather(2, ids[:, :, None])[:, :, 0]
        for n, (place, length) in enumerate(zip(batch, lengths, strict=True)):
            # An answer that stands at the very beginning has no place before its first token.
            known = min(length, len(rows[n]) - 1 + (policy.prefix is not None))
            sums[place] = float(logps[n, logps.size(1) - known :].double().sum()) if known else 0.0
            tokens[place] = known
    return Logps(sums, tokens)


@torch.no_grad()
def kl(policy: Policy, reference: Policy, pairs: Sequence[tuple[list[int], list[int]]]) -> Floats:
    """(N,): KL of policy to reference along each answer, exact at every position, in nats."""
    found = np.zeros(len(pairs))
    for batch in _batches(pairs, f"KL of {policy.place.name}"):
        rows = [pairs[i][0] + pairs[i][1] for i in batch]
        lengths = [len(pairs[i][1]) for i in batch]
        own = _scored(policy, rows, lengths)[0].float().log_softmax(-1)
        other = _scored(reference, rows, lengths)[0].float().log_softmax(-1)
        each = (own.exp() * (own - other.to(own.device))).sum(-1)
        for n, (place, length) in enumerate(zip(batch, lengths, strict=True)):
            known = min(length, len(rows[n]) - 1 + (policy.prefix is not None))
            found[place] = float(each[n, each.size(1) - known :].double().sum()) if known else 0.0
    return found


def _scored(
    policy: Policy, rows: Sequence[list[int]], lengths: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, A, V) that say the last A tokens, and those tokens (B, A)."""
    ids, mask = padded(rows, int(policy.tokenizer.pad_token_id), policy.device)
    longest = max(*lengths, 1)
    if policy.prefix is not None:
        # What says the first token stands among the virtual ones: a row of padding makes room.
        ids = torch.cat([ids.new_full((len(ids), 1), int(policy.tokenizer.pad_token_id)), ids], 1)
        mask = torch.cat([mask.new_zeros(len(mask), 1), mask], 1)
    logits = policy.logits(ids, mask)[:, :-1]
    longest = min(longest, logits.size(1))
    return logits[:, -longest:], ids[:, 1:][:, -longest:]


def _batches(pairs: Sequence[tuple[list[int], list[int]]], what: str) -> Iterator[list[int]]:
    """Positions by length, so many together as fit, with a word about how far they are."""
    lengths = [len(prompt) + len(answer) for prompt, answer in pairs]
    out: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if out and (len(out[-1]) + 1) * lengths[i] <= TOKENS_AT_ONCE:
            out[-1].append(i)
        else:
            out.append([i])
    with progress(transient=True) as bar:
        task = bar.add_task(what, total=len(pairs), note="")
        for batch in out:
            yield batch
            bar.update(task, advance=len(batch))


def best_of(rewards: Floats, n: int) -> float:
    """Mean reward of the best of n draws, over all ways to draw n of N rewards.

    >>> float(round(best_of(np.array([0.0, 1.0, 2.0]), 2), 6))  # (1 + 2 + 2) / 3
    1.666667
    """
    ordered = np.sort(rewards)
    count = len(ordered)
    ways = math.comb(count, n)
    shares = np.array([math.comb(i, n - 1) / ways for i in range(count)])
    return float(ordered @ shares)


def best_of_kl(n: int) -> float:
    """Most that the best of n can be away from its policy, in nats (2401.01879)."""
    return math.log(n) - (n - 1) / n


def distinct(rows: Sequence[Sequence[int]], size: int = 2) -> float | None:
    """Share of different runs of `size` tokens among all; None where there is none.

    >>> distinct([[1, 2, 1, 2]])
    0.6666666666666666
    """
    grams = [tuple(row[i : i + size]) for row in rows for i in range(len(row) - size + 1)]
    return len(set(grams)) / len(grams) if grams else None


def at_equal_length(outcomes: Floats, differences: Floats) -> float | None:
    """Win rate where both answers are equally long, by a logistic curve over the difference.

    Args:
        outcomes: (N,) 1 for a win, 0.5 for a tie, 0 for a loss.
        differences: (N,) tokens of the policy's answer less those of the other's.

    Returns:
        None where all outcomes are alike, or there are fewer than 10.
    """
    if len(outcomes) < 10 or len(set(outcomes.tolist())) < 2:
        return None
    from scipy.optimize import minimize

    spread = float(differences.std()) or 1.0
    scaled = differences / spread

    def loss(w: Floats) -> float:
        z = w[0] + w[1] * scaled
        # A little pull to no effect: length alone may separate wins from losses.
        both = np.logaddexp(0, z) - outcomes * z
        return float(both.mean() + 1e-3 * (w**2).sum() / 2)

    found = minimize(loss, np.zeros(2)).x
    return float(1 / (1 + np.exp(-found[0])))
