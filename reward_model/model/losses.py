"""Cross-entropy over the levels of all dimensions, and two terms on the pairs among the texts.

The same functions for the model and the trainer, so that both average over the same labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reward_model.records import IGNORE


def level_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    soft_labels: Tensor | None = None,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
    num_items: Tensor | int | None = None,
) -> Tensor:
    """Mean cross-entropy over the labels that are there; zero, with a gradient, if none is.

    Args:
        logits: (B, D, K)
        labels: (B, D), -100 where there is none.
        soft_labels: (B, D, K) shares of the levels to learn instead of the one in `labels`, which
            still says where there is none.
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
    levels = logits.shape[-1]
    # In float32: a sum of exponentials in half precision is off by more than a small loss is.
    log_probs = F.log_softmax(logits.float(), dim=-1)
    hard = F.one_hot(labels.clamp(min=0), levels).to(log_probs)
    given = hard if soft_labels is None else soft_labels.to(log_probs)
    target = given
    if smoothing:
        grid = torch.arange(levels, device=logits.device)
        target = given @ ordinal_targets(grid, levels, smoothing).to(given)
    losses = -(target * log_probs).sum(-1)
    if class_weights is not None:
        losses = losses * (given * class_weights.to(given)).sum(-1)
    # Not `losses[there]`: without a label the sum would have no gradient, and a process that has
    # none would wait for nobody while the others wait for its gradients.
    total = torch.where(there, losses, torch.zeros_like(losses)).sum()
    count = there.sum() if num_items is None else torch.as_tensor(num_items, device=total.device)
    return total / count.clamp(min=1)


def ordinal_targets(labels: Tensor, levels: int, smoothing: float) -> Tensor:
    """(...,) labels -> (..., K) targets: `smoothing` is spread in proportion to 1 / distance.

    Plain smoothing (Szegedy et al., arXiv 1512.00567) gives all others the same; levels have an
    order, and a judge who errs errs to a neighbour.

    >>> ordinal_targets(torch.tensor(1), 3, 0.2)
    tensor([0.1000, 0.8000, 0.1000])
    """
    grid = torch.arange(levels, device=labels.device)
    distance = (grid - labels.unsqueeze(-1)).abs()
    near = torch.where(distance > 0, 1.0 / distance.clamp(min=1), torch.zeros_like(distance))
    return torch.where(
        distance == 0, 1.0 - smoothing, smoothing * near / near.sum(-1, keepdim=True)
    )


def expected_levels(logits: Tensor) -> Tensor:
    """(B, D, K) logits -> (B, D) expected levels.

    >>> expected_levels(torch.zeros(1, 1, 5))
    tensor([[2.]])
    """
    return _mean_level(logits.float().softmax(-1))


def _mean_level(shares: Tensor) -> Tensor:
    """(..., K) -> (...)"""
    levels = torch.arange(shares.shape[-1], dtype=torch.float32, device=shares.device)
    return shares.float() @ levels


def pairwise_loss(
    logits: Tensor, pairs: Tensor, weights: Tensor, *, num_pairs: Tensor | int | None = None
) -> Tensor:
    """Bradley-Terry (1952) on the weighted expected level: mean of -log sigmoid(chosen - rejected).

    The difference is in levels, so a pair that is one level apart costs 0.31, a tie 0.69.

    Args:
        logits: (B, D, K)
        pairs: (P, 2) rows of chosen and rejected; zero, with a gradient, if there are none.
        weights: (D,) share of the dimensions; they sum to 1.
        num_pairs: divide by this instead of P (the pairs of the whole optimiser step).

    >>> tie = pairwise_loss(torch.zeros(2, 1, 5), torch.tensor([[0, 1]]), torch.ones(1))
    >>> round(float(tie), 4)
    0.6931
    """
    reward = expected_levels(logits) @ weights.to(logits.device, torch.float32)
    gap = reward[pairs[:, 0]] - reward[pairs[:, 1]]
    count = len(pairs) if num_pairs is None else num_pairs
    return -F.logsigmoid(gap).sum() / torch.as_tensor(count, device=logits.device).clamp(min=1)


def gap_loss(
    logits: Tensor,
    labels: Tensor,
    pairs: Tensor,
    *,
    soft_labels: Tensor | None = None,
    num_pairs: Tensor | int | None = None,
) -> Tensor:
    """How far the gap inside a pair is missed: squared error in levels, mean over the dimensions.

    The two sides of a pair have a prompt in common, so what this prompt does to either expected
    level cancels, and what is left to learn from is what makes one side the better one. (REBEL
    regresses on differences of rewards for the same reason, arXiv 2404.16767.)

    Args:
        logits: (B, D, K)
        labels: (B, D), -100 where there is none; a gap counts where both sides have one.
        pairs: (P, 2) rows of chosen and rejected; zero, with a gradient, if there are none.
        soft_labels: (B, D, K) shares of the levels, whose mean is the level then.
        num_pairs: divide by this instead of P (the pairs of the whole optimiser step).

    >>> labels, pair = torch.tensor([[3], [1]]), torch.tensor([[0, 1]])
    >>> float(gap_loss(torch.zeros(2, 1, 5), labels, pair))
    4.0
    """
    level = labels.float() if soft_labels is None else _mean_level(soft_labels)
    chosen, rejected = pairs.unbind(1)
    there = (labels[chosen] != IGNORE) & (labels[rejected] != IGNORE)
    expected = expected_levels(logits)
    off = (expected[chosen] - expected[rejected]) - (level[chosen] - level[rejected])
    squares = torch.where(there, off, torch.zeros_like(off)).square().sum(-1)
    total = (squares / there.sum(-1).clamp(min=1)).sum()
    count = len(pairs) if num_pairs is None else num_pairs
    return total / torch.as_tensor(count, device=logits.device).clamp(min=1)
