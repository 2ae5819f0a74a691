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
_MIX = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64
)
"""Odd numbers, by which a run becomes one of 64 bits."""
_OWNER = np.uint64(24)
"""Bits that say of which response a run is; the other 40 say which run it is."""


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
    ids = np.fromiter(chain.from_iterable(responses), np.int64, total).view(np.uint64)
    owner = np.repeat(np.arange(len(responses), dtype=np.uint64), lengths)
    last = total - N + 1
    runs = ids[:last] * _MIX[0]
    for i in range(1, N):
        runs += ids[i : last + i] * _MIX[i]
    inside = owner[:last] == owner[N - 1 :]
    keys = np.sort(((owner[:last] << (64 - _OWNER)) | (runs >> _OWNER))[inside])
    again = keys[1:][keys[1:] == keys[:-1]] >> (64 - _OWNER)
    found = np.bincount(again.astype(np.int64), minlength=len(responses))
    return np.asarray(found / np.maximum(lengths - N + 1, 1))
