"""How much of a response it has said before: what a mean over tokens cannot tell.

`repeated([ids, ...])` is, of each response, the share of token 4-grams that occurred in it before
(one minus distinct-n of Li et al., arXiv 1510.03055).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from reward_model.stats.bootstrap import Floats

N = 4
"""Tokens of a run: three recur in any prose, eight are more than a short answer has."""
_MIX = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F], np.uint32)
"""Odd numbers, by which a run becomes one of 32 bits: two of a text are taken for one by chance in
one text of 10,000, and then it is off by a run."""


def repeated(responses: Sequence[Sequence[int]]) -> Floats:
    """Share of the runs of `N` tokens that occurred earlier in the same response.

    Args:
        responses: B responses as token ids, without what stands around them.

    Returns:
        [B], in [0, 1); 0 for a response of fewer than `N` tokens.

    >>> repeated([[1, 2, 3, 4], [1, 2, 3, 4, 1, 2, 3, 4], [7] * 13]).tolist()
    [0.0, 0.2, 0.9]
    """
    lengths = np.fromiter(map(len, responses), np.int64, len(responses))
    total = int(lengths.sum())
    if total < N:
        return np.zeros(len(responses))
    ids = np.fromiter(chain.from_iterable(responses), np.uint32, total)
    last = total - N + 1
    runs = ids[:last] * _MIX[0]
    for i in range(1, N):
        runs += ids[i : last + i] * _MIX[i]
    ends = np.cumsum(lengths)
    starts, ends = ends - lengths, ends - (N - 1)  # of the runs that lie within one response
    whole = ends > starts
    for start, end in zip(starts[whole].tolist(), ends[whole].tolist(), strict=True):
        runs[start:end].sort()
    before = np.zeros(last, np.int64)
    np.cumsum(runs[1:] == runs[:-1], out=before[1:])
    found = np.zeros(len(responses))
    again = before[ends[whole] - 1] - before[starts[whole]]
    found[whole] = again / (ends - starts)[whole]
    return found
