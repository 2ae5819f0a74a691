"""Packed weights on a CPU: the same numbers, in this thread, for the weights as they are now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from reward_model.model.fast_linear import FastLinears


@pytest.fixture
def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(48, 96), nn.Linear(96, 7, bias=False)).eval()


@pytest.mark.parametrize("shape", [(1, 1, 48), (5, 48), (2, 33, 48), (0, 48), (48,)])
def test_the_numbers_are_the_same(layers: nn.Sequential, shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape)
    fast = FastLinears(layers)
    with torch.inference_mode():
        expected = layers(x)
        with fast:
            assert torch.allclose(layers(x), expected, atol=1e-5)
            assert layers(x).shape == expected.shape
            assert torch.allclose(layers.double()(x.double()).float(), expected, atol=1e-5)


def test_weights_written_to_later_count(layers: nn.Sequential) -> None:
    x, fast = torch.randn(4, 48), FastLinears(layers)
    with torch.no_grad():
        layers[0].weight.mul_(2)
        layers[1].weight = nn.Parameter(torch.randn(7, 96))
        with fast:
            found = layers(x)
        assert torch.allclose(found, layers(x), atol=1e-5)


def test_threads_do_not_meet(layers: nn.Sequential) -> None:
    fast = FastLinears(layers)
    texts = [torch.randn(n, 48) for n in range(1, 40)]

    def one(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), fast:
            return layers(x)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one, texts))
    for x, found in zip(texts, together, strict=True):
        assert torch.allclose(found, layers(x), atol=1e-5)
