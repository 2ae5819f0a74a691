"""Steps, shares and pieces: every text once, little padding, whatever the number of processes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_model.model.batches import row_batches, token_batches
from reward_model.model.packed import OVER_ALL
from reward_model.model.padded import into_windows, pool_windows
from reward_model.model.rows import TokenRow
from reward_model.records import IGNORE, UserError
from reward_model.train.steps import StepBatches, StepCollator

LENGTHS = st.lists(st.integers(1, 300), min_size=4, max_size=200)


@given(LENGTHS, st.integers(1, 30), st.integers(0, 5), st.sampled_from([1, 2, 3]))
@settings(max_examples=60)
def test_every_text_is_seen_once_by_one_process(
    lengths: list[int], texts: int, seed: int, world: int
) -> None:
    texts = max(texts, world)
    shares = [list(StepBatches(lengths, texts, seed, rank=r, world=world)) for r in range(world)]
    assert len({len(share) for share in shares}) == 1
    seen = [i for share in shares for step in share for i in step]
    assert sorted(seen) == list(range(len(lengths)))
    assert all(step for share in shares for step in share)


@given(LENGTHS, st.integers(2, 30))
@settings(max_examples=40)
def test_the_steps_are_the_same_for_any_number_of_processes(lengths: list[int], texts: int) -> None:
    alone = [set(step) for step in StepBatches(lengths, texts, 0)]
    two = zip(*(StepBatches(lengths, texts, 0, rank=r, world=2) for r in (0, 1)), strict=True)
    assert [set(a) | set(b) for a, b in two] == alone


def test_order_follows_from_seed_and_epoch() -> None:
    lengths = [(7 * i) % 50 for i in range(203)]
    order = StepBatches(lengths, 4, seed=3)
    first = list(order)
    assert len(first) == len(order) == 50
    assert {len(step) for step in first} == {4, 5}
    assert list(order) == first
    order.set_epoch(1)
    assert list(order) != first
    assert list(StepBatches(lengths, 4, seed=4)) != first
    padded = sum(max(lengths[i] for i in step) * len(step) for step in first)
    assert padded < 1.2 * sum(lengths)


def test_more_processes_than_texts_are_refused() -> None:
    with pytest.raises(UserError, match="steps of 2 texts for 3 processes"):
        StepBatches([5, 5], 8, 0, world=3)
    with pytest.raises(UserError, match="a larger --batch-size"):
        StepBatches([5] * 100, 2, 0, world=3)


@given(LENGTHS, st.integers(1, 1000))
def test_pieces_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    rows = dict(enumerate(lengths))
    pieces = list(token_batches(rows, budget))
    assert sorted(i for piece in pieces for i in piece) == list(rows)
    for piece in pieces:
        assert len(piece) == 1 or max(rows[i] for i in piece) * len(piece) <= budget


@given(LENGTHS, st.integers(1, 1000))
def test_rows_without_padding_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    rows = dict(enumerate(lengths))
    pieces = list(row_batches(rows, budget))
    assert sorted(i for piece in pieces for i in piece) == list(rows)
    for piece in pieces:
        assert len(piece) == 1 or sum(rows[i] for i in piece) <= budget


def item(length: int, **more: Any) -> dict[str, Any]:
    return {"input_ids": list(range(1, length + 1)), "types": None, "labels": [1, IGNORE], **more}


def test_the_sides_of_a_pair_stay_in_one_piece() -> None:
    items = [
        item(9),
        item(30, preferred=True),
        item(5),
        item(8, preferred=True),
        item(8),
        item(2, preferred=False),
    ]
    step = StepCollator(0, 20, pairs=True)(items)
    assert step["labels"].shape == (6, 2)
    found = []
    for piece in step["pieces"]:
        assert piece["pairs"].dtype == torch.long  # also of a piece without any
        lengths = piece["attention_mask"].sum(1).tolist()
        found += [(lengths[a], lengths[b]) for a, b in piece["pairs"].tolist()]
        assert lengths[0] * len(lengths) <= 20 or len(lengths) <= 2
    assert sorted(found) == [(8, 8), (30, 5)]
    rows = StepCollator(0, 20, pairs=True, row=partial(TokenRow, 0))(items)["pieces"]
    ends = [[n for _, n in (parts[0] for parts in p["row"].pieces)] for p in rows]
    found = [(n[a], n[b]) for n, p in zip(ends, rows, strict=True) for a, b in p["pairs"].tolist()]
    assert sorted(found) == [(8, 8), (30, 5)]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 20))
def test_windows_hold_every_token_of_a_text_in_order(lengths: list[int], size: int) -> None:
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for i, n in enumerate(lengths):
        ids[i, :n] = torch.arange(1, n + 1) + 100 * i
    mask = (ids > 0).long()
    cut, there, _, owner = into_windows(ids, mask, None, size)
    assert cut.shape[1] <= size
    for i, n in enumerate(lengths):
        rows = owner == i
        assert cut[rows][there[rows] > 0].tolist() == ids[i, :n].tolist()
        widths = there[rows].sum(1)
        assert int(widths.max() - widths.min()) < len(widths) + 1
    hidden = cut.unsqueeze(-1).float()
    mean, rms = (pool_windows(hidden, there, owner, len(lengths), how) for how in OVER_ALL)
    expected = ids.sum(1) / torch.tensor(lengths)
    torch.testing.assert_close(mean.squeeze(1), expected.float())
    squares = ids.float().square().sum(1) / torch.tensor(lengths)
    torch.testing.assert_close(rms.squeeze(1), squares.sqrt())
