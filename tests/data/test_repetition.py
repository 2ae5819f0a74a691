"""How much of itself a response repeats, as the number that familiarity reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.data.tokens.repetition import N, repeated

tokens = st.lists(st.integers(0, 5) | st.integers(0, 260_000), max_size=60)


@given(st.lists(tokens, max_size=8))
def test_it_is_the_share_of_runs_that_are_not_the_first_of_their_kind(texts: list[Any]) -> None:
    found = repeated(texts)
    for text, share in zip(texts, found, strict=True):
        runs = [tuple(text[i : i + N]) for i in range(len(text) - N + 1)]
        assert share == pytest.approx(1 - len(set(runs)) / len(runs) if runs else 0)
        assert share == repeated([text])[0]  # whatever else is in the batch
    assert found.shape == (len(texts),)


@given(tokens.filter(bool))
def test_said_again_and_again_it_rises_to_one(text: list[int]) -> None:
    times = np.arange(4, 9)
    shares = repeated([text * int(many) for many in times])
    assert (np.diff(shares) > 0).all()
    least = 1 - len(text) / (times * len(text) - N + 1)
    assert (shares >= least - 1e-12).all()
