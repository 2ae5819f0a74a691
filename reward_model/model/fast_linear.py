"""Linear layers of a model on a CPU, with weights laid out once as the matrix product reads them.

`with FastLinears(model): model(...)`; the model itself is not changed. It takes the memory of the
weights a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

MOST_BYTES = 4 << 30
"""Of weights; a larger model keeps to one copy."""
TOKENS = 1024
"""What the layout is chosen for; it serves any number."""


class FastLinears(TorchFunctionMode):
    """Computes `linear` with packed weights for as long as it is entered, in this thread alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        weights = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)]
        self._packed: dict[int, tuple[Tensor, int, Tensor]] = {}
        if not _possible(weights):
            return
        pack = torch.ops.mkl._mkl_reorder_linear_weight
        with torch.no_grad():
            for weight in weights:
                packed = pack(weight.detach(), TOKENS)
                self._packed[id(weight)] = (weight, weight._version, packed)

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every function of torch passes here; all but `linear` on a known weight go on."""
        if func is linear and len(args) == 3:
            x, weight, bias = args
            known = self._packed.get(id(weight))
            # Weights that were written to since are read as they are now. Torch does not count
            # writes through `.data`: those are not seen.
            if known is not None and known[1] == weight._version and x.dtype == torch.float32:
                tokens = x.numel() // x.shape[-1]
                if tokens:
                    return torch.ops.mkl._mkl_linear(x, known[2], weight, bias, tokens)
        return func(*args, **(kwargs or {}))


def _possible(weights: list[Tensor]) -> bool:
    return (
        torch.backends.mkl.is_available()
        and hasattr(torch.ops.mkl, "_mkl_linear")
        and all(w.device.type == "cpu" and w.dtype == torch.float32 for w in weights)
        and sum(w.nbytes for w in weights) <= MOST_BYTES
    )


__all__ = ["FastLinears"]
