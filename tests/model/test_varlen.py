"""Attention over a row of texts at once: near tokens alone, and what a GPU's kernels are handed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packed import BACKBONES
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from reward_model.data.tokens.inputs import Encoded
from reward_model.model.attention import banded, varlen, varlen_runs
from reward_model.model.packed import enable, packed_hidden, packs_on, pool_packed
from reward_model.model.rows import TokenRow


def row_of(lengths: list[int]) -> TokenRow:
    row = TokenRow(0)
    for length in lengths:
        row.add(Encoded([4] * length, None, False, False))
    return row


@given(st.lists(st.integers(1, 90), min_size=1, max_size=6), st.integers(1, 40))
@settings(max_examples=40)
def test_near_tokens_of_the_same_text_alone_are_seen(lengths: list[int], reach: int) -> None:
    row, total = row_of(lengths), sum(lengths)
    torch.manual_seed(0)
    own = torch.randn(3, 1, 2, total, 8)
    q, k, v = (one.clone().requires_grad_() for one in own)
    found = banded(q, k, v, row, reach, None)
    assert found.shape == (1, total, 2, 8)
    text = torch.repeat_interleave(torch.tensor(lengths))
    place = torch.arange(total)
    seen = (text[:, None] == text) & ((place[:, None] - place).abs() < reach)
    p, m, w = (one.clone().requires_grad_() for one in own)
    wanted = scaled_dot_product_attention(p, m, w, attn_mask=seen).transpose(1, 2)
    assert torch.allclose(found, wanted, atol=1e-5)
    found.square().sum().backward()
    wanted.square().sum().backward()
    for one, other in ((q, p), (k, m), (v, w)):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, atol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert", "qwen2", "llama"])
def test_a_gpu_is_handed_what_its_kernels_take(kind: str) -> None:
    # Shapes, devices and types alone, of tensors without numbers: no GPU is needed for it.
    from transformers.initialization import no_init_weights

    model: Any = BACKBONES[kind]()
    row = row_of([5, 7, 30, 7])
    with FakeTensorMode(allow_non_fake_inputs=True), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        torch.set_default_dtype(torch.bfloat16)
        try:
            with torch.device("cuda"), no_init_weights():
                there = type(model)(model.config)
        finally:
            torch.set_default_dtype(torch.float32)
        row.first = enable(there) or 0
        tensors = row.tensors("cuda")
        hidden = packed_hidden(there, tensors["input_ids"], None, row)
        pooled = pool_packed(hidden, row, "mean")
    assert hidden.shape == (49, 32)
    assert (pooled.shape, pooled.device.type, pooled.dtype) == ((4, 32), "cuda", torch.float32)
    ends, longest = row.kept["varlen"]
    assert (ends.shape, ends.dtype, longest) == ((5,), torch.int32, 30)


def test_where_there_is_no_such_kernel_padding_stays() -> None:
    model = BACKBONES["bert"]()
    assert packs_on(model, torch.device("cpu"), torch.float32)
    gpu = torch.device("cuda")
    assert not varlen_runs(gpu, torch.float32, 64)
    assert not varlen_runs(torch.device("mps"), torch.bfloat16, 64)
    if not torch.cuda.is_available():
        assert not packs_on(model, gpu, torch.bfloat16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("reach", [None, 9])
def test_on_a_gpu_the_numbers_are_those_of_a_cpu(reach: int | None) -> None:
    row = row_of([3, 70, 1, 40])
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 114, 64)
    found = varlen(None, *(one.cuda().bfloat16() for one in (q, k, v)), row, reach, None)
    wanted = banded(q, k, v, row_of([3, 70, 1, 40]), reach or 200, None)
    assert torch.allclose(found.float().cpu(), wanted, atol=0.03)
