"""What familiarity reads of the tokens of a response: what it repeats, and which pairs are new."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.data.tokens.phrases import N, joined, repeated, seen_pairs, unseen

tokens = st.lists(st.integers(0, 5) | st.integers(0, 260_000), max_size=60)


@given(st.lists(tokens, max_size=8))
def test_it_is_the_share_of_runs_that_are_not_the_first_of_their_kind(texts: list[Any]) -> None:
    found = repeated(joined(texts))
    for text, share in zip(texts, found, strict=True):
        runs = [tuple(text[i : i + N]) for i in range(len(text) - N + 1)]
        assert share == pytest.approx(1 - len(set(runs)) / len(runs) if runs else 0)
        assert share == repeated(joined([text]))[0]  # whatever else is in the batch
    assert found.shape == (len(texts),)


@given(tokens.filter(bool))
def test_said_again_and_again_it_rises_to_one(text: list[int]) -> None:
    times = np.arange(4, 9)
    shares = repeated(joined([text * int(many) for many in times]))
    assert (np.diff(shares) > 0).all()
    least = 1 - len(text) / (times * len(text) - N + 1)
    assert (shares >= least - 1e-12).all()


@given(st.lists(tokens, max_size=8), st.lists(tokens, max_size=8))
def test_pairs_that_were_seen_are_never_new(known: list[Any], texts: list[Any]) -> None:
    seen = seen_pairs(joined(known))
    new, pairs = unseen(joined([*known, *texts]), seen)
    assert pairs.tolist() == [max(0, len(text) - 1) for text in [*known, *texts]]
    assert not new[: len(known)].any()
    there = {pair for text in known for pair in pairwise(text)}
    most = [sum(pair not in there for pair in pairwise(text)) for text in texts]
    assert (new[len(known) :] <= most).all()
    if texts:  # whatever else is in the batch
        assert unseen(joined(texts[-1:]), seen)[0][0] == new[-1]


def test_few_new_pairs_are_taken_for_seen_ones() -> None:
    rng = np.random.default_rng(0)
    known, others = (rng.integers(0, 50_000, (40, 500)).tolist() for _ in range(2))
    new, pairs = unseen(joined(others), seen_pairs(joined(known)))
    assert 0.9 < new.sum() / pairs.sum() < 1
