"""`MultiDimRewardTrainer`: transformers' Trainer with this package's loss, order and metrics.

Device, processes, mixed precision, sharding, checkpoints and reporting stay the Trainer's own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import EvalPrediction, Trainer, TrainerCallback

from reward_model.bootstrap import Ints
from reward_model.data import IGNORE, MultiDimRewardDataset, Sample, pair_indices
from reward_model.inputs import collate
from reward_model.losses import level_cross_entropy
from reward_model.metrics import kappa_of
from reward_model.records import UserError
from reward_model.rubric import Rubric

WINDOW = 50
"""Batches that are sorted by length together: long enough to pad little, short enough to mix."""


class LevelCollator:
    """Items of a MultiDimRewardDataset -> one padded batch."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pad on the right."""
        return collate(items, self.pad)


class LengthOrder(Sampler[int]):
    """Texts of like length next to each other, in an order that follows from seed and epoch alone.

    Args:
        lengths: tokens of every text.
        chunk: texts of one optimiser step, over all processes.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], chunk: int, seed: int) -> None:
        self.lengths, self.chunk, self.seed, self.epoch = list(lengths), chunk, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed}:order:{self.epoch}")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        size = self.chunk * WINDOW
        chunks: list[list[int]] = []
        for start in range(0, len(order), size):
            window = sorted(order[start : start + size], key=lambda i: self.lengths[i])
            chunks += [window[i : i + self.chunk] for i in range(0, len(window), self.chunk)]
        # The short chunk has to come last, or every chunk after it would straddle two lengths.
        short = [c for c in chunks if len(c) < self.chunk]
        full = [c for c in chunks if len(c) == self.chunk]
        rng.shuffle(full)
        return iter([i for c in (*full, *short) for i in c])


class _EpochOfOrder(TrainerCallback):
    """Tells the order which epoch begins, also in the middle of one that is resumed."""

    def __init__(self, order: LengthOrder) -> None:
        self.order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.order.set_epoch(int(state.epoch or 0))


class MultiDimRewardTrainer(Trainer):
    """Trainer for `MultiDimRewardModel` on `MultiDimRewardDataset`.

    Args:
        class_weights: (D, K) weights of the levels, or None.
        label_smoothing: share of the target given to the other levels, near ones first.
        kwargs: Trainer's own.
    """

    def __init__(
        self,
        *args: Any,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        def loss(
            outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None
        ) -> Tensor:
            return level_cross_entropy(
                outputs.logits,
                labels,
                class_weights=class_weights,
                smoothing=label_smoothing,
                num_items=num_items_in_batch,
            )

        kwargs["compute_loss_func"] = loss
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if not isinstance(dataset, MultiDimRewardDataset):
            return super()._get_train_sampler(train_dataset)
        args = self.args
        chunk = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        order = LengthOrder(dataset.lengths, chunk, args.seed)
        self.add_callback(_EpochOfOrder(order))
        return order

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """One forward and backward; stops before a loss that is no number reaches the weights."""
        loss: Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise UserError(
                f"a loss that is no number ({float(loss)}) at step {self.state.global_step + 1}",
                expected="a finite loss",
                mend="lower --lr, or train in fp32; the last good checkpoint is kept",
                path=self.args.output_dir,
            )
        return loss


def level_weights(samples: Sequence[Sample], rubric: Rubric, power: float = 1.0) -> Tensor:
    """(D, K): a level weighs `1 / count ** power`, so that the mean over the labels is 1.

    Levels nobody gave weigh 1; they never meet a label.
    """
    labels = np.array([sample.labels for sample in samples])
    weights = np.ones((len(rubric.names), rubric.classes))
    for d in range(len(rubric.names)):
        column = labels[:, d][labels[:, d] != IGNORE]
        counts = np.bincount(column, minlength=rubric.classes)
        there = counts > 0
        if there.any():
            share = counts[there] ** -power
            weights[d, there] = share * counts.sum() / (share * counts[there]).sum()
    return torch.tensor(weights, dtype=torch.float32)


class ValidationMetrics:
    """What Trainer reports of the validation texts, and picks the best checkpoint by.

    Args:
        samples: the validation texts, in order.
        rubric: their rubric.
    """

    def __init__(self, samples: Sequence[Sample], rubric: Rubric) -> None:
        self.rubric = rubric
        self.pairs: list[tuple[int, int]] = pair_indices(samples)
        self.labels: Ints = np.array([sample.labels for sample in samples])

    @property
    def can_rank(self) -> bool:
        """Some dimension has more than one level here, so that a kappa exists."""
        return any(len(set(c[c != IGNORE].tolist())) > 1 for c in self.labels.T)

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Kappa, accuracy, pair accuracy from logits (N, D, K); what has no value is left out."""
        logits = torch.as_tensor(np.asarray(prediction.predictions), dtype=torch.float64)
        labels = np.asarray(prediction.label_ids)
        probabilities = logits.softmax(-1).numpy()
        predicted = probabilities.argmax(-1)
        levels = self.rubric.classes
        out: dict[str, float] = {}
        kappas = []
        for d, name in enumerate(self.rubric.names):
            there = labels[:, d] != IGNORE
            pairs = labels[there, d] * levels + predicted[there, d]
            kappa = float(kappa_of(np.bincount(pairs, minlength=levels**2).astype(float)))
            if np.isfinite(kappa):
                out[f"qwk_{name}"] = kappa
                kappas.append(kappa)
            if there.any():
                out[f"accuracy_{name}"] = float((labels[there, d] == predicted[there, d]).mean())
        if kappas:
            out["qwk"] = float(np.mean(kappas))
        if (labels != IGNORE).any():
            out["accuracy"] = float((predicted == labels)[labels != IGNORE].mean())
        if self.pairs:
            weights = np.array([self.rubric.weights[name] for name in self.rubric.names])
            reward = (probabilities @ np.arange(levels)) @ weights
            out["pair_accuracy"] = float(np.mean([reward[a] > reward[b] for a, b in self.pairs]))
        return out
