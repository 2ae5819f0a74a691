"""Cross-entropy over the levels of all dimensions, where labels may be missing.

One function for the model and the trainer, so that both average over the same labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reward_model.data import IGNORE


def level_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
    num_items: Tensor | int | None = None,
) -> Tensor:
    """Mean cross-entropy over the labels that are there; zero, with a gradient, if none is.

    Args:
        logits: (B, D, K)
        labels: (B, D), -100 where there is none.
        class_weights: (D, K); their mean over the training labels is 1, so dividing by the plain
            count stays right when gradients are accumulated.
        smoothing: share of the target that goes to the other levels, near ones first.
        num_items: divide by this instead of the labels of this batch (the labels of the whole
            optimiser step).

    >>> logits = torch.zeros(1, 2, 5)
    >>> round(float(level_cross_entropy(logits, torch.tensor([[3, -100]]))), 4)
    1.6094
    """
    there = labels != IGNORE
    target = labels.clamp(min=0)
    log_probs = F.log_softmax(logits.float(), dim=-1)
    if smoothing:
        share = ordinal_targets(target, logits.shape[-1], smoothing)
        losses = -(share * log_probs).sum(-1)
    else:
        losses = -log_probs.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    if class_weights is not None:
        weights = class_weights.to(losses).expand_as(logits)
        losses = losses * weights.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    total = torch.where(there, losses, torch.zeros_like(losses)).sum()
    count = there.sum() if num_items is None else torch.as_tensor(num_items, device=total.device)
    return total / count.clamp(min=1)


def ordinal_targets(labels: Tensor, levels: int, smoothing: float) -> Tensor:
    """(...,) labels -> (..., K) targets: `smoothing` is spread in proportion to 1 / distance.

    >>> ordinal_targets(torch.tensor(1), 3, 0.2)
    tensor([0.1000, 0.8000, 0.1000])
    """
    grid = torch.arange(levels, device=labels.device)
    distance = (grid - labels.unsqueeze(-1)).abs()
    near = torch.where(distance > 0, 1.0 / distance.clamp(min=1), torch.zeros_like(distance))
    return torch.where(
        distance == 0, 1.0 - smoothing, smoothing * near / near.sum(-1, keepdim=True)
    )
