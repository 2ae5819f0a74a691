"""`MultiDimRewardTrainer`: transformers' Trainer with this package's loss, order and metrics.

Device, processes, mixed precision, sharding, checkpoints and reporting stay the Trainer's own.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer

from reward_model.data.dataset import MultiDimRewardDataset
from reward_model.model.adapter import plain
from reward_model.model.device import device_tokens
from reward_model.model.lanes import Lanes, lanes_for
from reward_model.model.losses import gap_loss, level_cross_entropy, pairwise_loss
from reward_model.model.network import MultiDimRewardModel
from reward_model.model.packed import draws, enable, packs_on
from reward_model.model.rows import TokenRow
from reward_model.records import IGNORE, UserError
from reward_model.rubrics import Rubric
from reward_model.train.arguments import give_heads_a_rate
from reward_model.train.checkpoints import check_all_read
from reward_model.train.steps import (
    EpochOfOrder,
    PairItems,
    StepBatches,
    StepCollator,
    Targets,
    some_pairs,
    take_targets,
    units_of,
)


def _add(weights: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """To what has been added up in `grad`."""
    for weight, gradient in zip(weights, gradients, strict=True):
        if gradient is not None and weight.grad is None:
            weight.grad = gradient.clone()  # two weights may have been given one tensor
        elif gradient is not None and weight.grad is not None:
            weight.grad += gradient


class MultiDimRewardTrainer(Trainer):
    """Trainer for `MultiDimRewardModel` on `MultiDimRewardDataset`.

    A step is `texts_per_step` texts over all processes. Each process runs its share in pieces of at
    most `batch_tokens` tokens and synchronises gradients once, so neither the budget nor the number
    of processes changes what is learned.

    Args:
        texts_per_step: if not given, the Trainer's batch size a device times the processes.
        batch_tokens: most tokens a device takes at a time, with padding where there is any; chosen
            by the device if not given. A CPU of several cores takes them in several pieces, a lane
            each (`reward_model.model.lanes`).
        class_weights: (D, K) weights of the levels, or None.
        label_smoothing: share of the target given to the other levels, near ones first.
        pair_weight: weight of the pairwise term (`reward_model.model.losses.pairwise_loss`), 0
            for none; the dimensions count as in the rubric.
        gap_weight: weight of the error of the gap inside a pair, a dimension at a time
            (`reward_model.model.losses.gap_loss`), 0 for none.
        head_learning_rate: peak of the schedule for the heads; the backbone's if not given.
        kwargs: Trainer's own; `data_collator` must know the padding id, as `LevelCollator` does.
    """

    def __init__(
        self,
        *args: Any,
        texts_per_step: int | None = None,
        batch_tokens: int | None = None,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        pair_weight: float = 0.0,
        gap_weight: float = 0.0,
        head_learning_rate: float | None = None,
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
        arguments = kwargs.get("args") or next((a for a in args if hasattr(a, "n_gpu")), None)
        if arguments is not None:
            # Several that are seen without a launcher would share every piece (DataParallel),
            # which knows neither rows of texts nor lanes; a launcher gives each its own process.
            arguments._n_gpu = min(1, arguments.n_gpu)
        super().__init__(*args, **kwargs)
        if self.args.gradient_accumulation_steps > 1:
            raise ValueError(
                "gradient_accumulation_steps is not used here: a step is texts_per_step texts, "
                "and batch_tokens bounds the memory"
            )
        self.class_weights, self.label_smoothing = class_weights, label_smoothing
        self.pair_weight, self.gap_weight = pair_weight, gap_weight
        self.head_learning_rate = head_learning_rate
        self.texts_per_step = (
            texts_per_step or self.args.train_batch_size * self.accelerator.num_processes
        )
        self.batch_tokens = batch_tokens or device_tokens(self.args.device)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The Trainer's optimiser, with the heads in groups of their own if they have a rate."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if self.head_learning_rate is None:
            return optimizer
        network: Any = self.model if model is None else model
        give_heads_a_rate(optimizer, network, self.head_learning_rate)
        return optimizer

    def _evaluate(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The Trainer's; what is validated before the first step may be the best one, too."""
        metrics: dict[str, float] = super()._evaluate(trial, *args, **kwargs)
        if self.args.eval_on_start and self.state.global_step == 0:
            # Of few validation texts the best of many checkpoints is best by luck: the probe stays
            # unless one is ahead by its standard error (Breiman et al. 1984, the 1-SE rule).
            key = str(self.args.metric_for_best_model)
            error = metrics.get(f"{key}_error", 0.0)
            ahead = error if self.args.greater_is_better else -error
            self._determine_best_metric({**metrics, key: metrics[key] + ahead}, trial)
            # The Trainer takes step 0 for none.
            folder = str(self.args.output_dir)
            self.state.best_model_checkpoint = str(Path(folder) / "checkpoint-0")
            network: Any = self.model
            self._save_checkpoint(network, trial)
        return metrics

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """The Trainer's, but weights keep the names that its `load_state_dict` looks for.

        It writes those of the hub, which for some backbones (Gemma 3 with images, mixtures of
        experts) are others, of which nothing would be read back.
        """
        network: Any = self.model
        if not isinstance(network, MultiDimRewardModel):  # an adapter: its names are its own
            super()._save(output_dir, state_dict)
        elif self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            network.save_pretrained(folder, state_dict=state_dict, save_original_format=False)
            if self.processing_class is not None:
                self.processing_class.save_pretrained(folder)
            torch.save(self.args, folder / "training_args.bin")

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """The Trainer only warns of weights that a checkpoint does not have."""
        check_all_read(load_result.missing_keys)
        super()._issue_warnings_after_load(load_result)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Steps of like lengths; each process draws its own share of every step."""
        dataset = self.train_dataset
        if not isinstance(dataset, MultiDimRewardDataset):
            raise TypeError(f"train_dataset is a {type(dataset).__name__}, not what this trains on")
        wanted = self.pair_weight or self.gap_weight
        pairs = some_pairs(dataset.samples, dataset.rubric) if wanted else []
        order = StepBatches(
            dataset.lengths,
            self.texts_per_step,
            self.args.seed,
            units=units_of(len(dataset), pairs) if pairs else None,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        self.add_callback(EpochOfOrder(order))
        pad = getattr(self.data_collator, "pad", 0)
        multiple = 1 if self.args.device.type == "cpu" else 8
        first = {chosen for chosen, _ in pairs}
        items: Any = PairItems(dataset, first) if pairs else dataset
        return DataLoader(
            items,
            batch_sampler=order,
            collate_fn=StepCollator(
                pad,
                self.batch_tokens,
                lanes=self._lanes().count,
                multiple=multiple,
                pairs=bool(pairs),
                answers=bool(plain(self.model).config.length_heads),
                row=self._row_without_padding(),
            ),
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def _row_without_padding(self) -> Callable[[], TokenRow] | None:
        network = plain(self.model)
        device, dtype = torch.device(self.args.device), torch.float32
        if self.args.bf16 or self.args.fp16:
            dtype = torch.bfloat16 if self.args.bf16 else torch.float16
        first = enable(network.backbone)
        if first is None or not packs_on(network.backbone, device, dtype):
            return None
        if device.type != "cpu" and draws(network.backbone):
            return None  # its kernels drop nothing
        return partial(TokenRow, first, network.config.window)

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """All pieces of a step, forward and backward; the loss is the mean over the whole step.

        Raises:
            UserError: the loss is no number; the weights have not seen it.
        """
        model.train()
        pieces = inputs["pieces"]
        labels, pairs, rounds = self._over_processes(
            int((inputs["labels"] != IGNORE).sum()),
            sum(len(piece.get("pairs", ())) for piece in pieces),
            len(pieces),
        )
        lanes = self._lanes()
        if lanes.count > 1 and len(pieces) > 1:
            total = self._in_lanes(lanes, model, pieces, labels, pairs)
        else:
            total = self._in_turn(model, pieces, rounds, labels, pairs)
        mean = self.accelerator.reduce(total.clone(), reduction="mean")
        if not torch.isfinite(mean):
            raise UserError(
                f"a loss that is no number ({float(mean)}) at step {self.state.global_step + 1}",
                expected="a finite loss",
                mend="lower --lr, or train in fp32; the last good checkpoint is kept",
                path=self.args.output_dir,
            )
        return total

    def _in_turn(
        self, model: Any, pieces: Sequence[dict[str, Any]], rounds: int, labels: int, pairs: int
    ) -> Tensor:
        """One piece after the other, as often as the process with the most pieces has one."""
        total = torch.zeros((), device=self.args.device)
        for i in range(rounds):
            last = i == rounds - 1
            self.accelerator.gradient_state._set_sync_gradients(last)
            with self._without_sync(model, last):
                piece = self._prepare_inputs(dict(pieces[min(i, len(pieces) - 1)]))
                loss = self._piece_loss(model, piece, labels, pairs)
                # Gradients are averaged over the processes, and this one's are a part of the sum.
                loss = loss * self.accelerator.num_processes
                if i >= len(pieces):  # sharded weights are gathered as often on every process
                    loss = loss * 0.0
                scale = (
                    {"scale_wrt_gas": False}
                    if self.accelerator.distributed_type == DistributedType.DEEPSPEED
                    else {}
                )
                self.accelerator.backward(loss, **scale)
            total += loss.detach()
        return total

    def _in_lanes(
        self,
        lanes: Lanes,
        model: Any,
        pieces: Sequence[dict[str, Any]],
        labels: int,
        pairs: int,
    ) -> Tensor:
        """As many pieces at a time as there are lanes; sums are made in the order of the pieces.

        Heads run in this thread: their dropout draws from one sequence, which must not depend on
        which lane comes first.
        """
        network = plain(model)
        weights = [one for one in network.backbone.parameters() if one.requires_grad]
        left = iter(pieces)
        forward: deque[tuple[Future[Tensor], Targets]] = deque()
        backward: deque[Future[tuple[Tensor | None, ...]]] = deque()

        def vectors(piece: dict[str, Any]) -> Tensor:
            with self.compute_loss_context_manager():
                pooled: Tensor = model(**piece, pooled_only=True).pooled
            return pooled

        def gradients(pooled: Tensor, leaf: Tensor) -> tuple[Tensor | None, ...]:
            # `backward()` would add to the weights' `grad` from several threads at once.
            return torch.autograd.grad(pooled, weights, leaf.grad, allow_unused=True)

        def begin(most: int) -> None:
            for piece in islice(left, most):
                texts = dict(piece)
                target = take_targets(texts)
                forward.append((lanes.submit(vectors, texts), target))

        total = torch.zeros(())
        begin(lanes.count)
        try:
            while forward or backward:
                if forward:
                    future, target = forward[0]
                    pooled = future.result()
                    leaf = pooled.detach().requires_grad_()
                    loss = self._loss(network.score_pooled(leaf), target, labels, pairs)
                    loss.backward()
                    total += loss.detach()
                    if weights:
                        backward.append(lanes.submit(gradients, pooled, leaf))
                    forward.popleft()
                    begin(1)
                while backward and (backward[0].done() or not forward):
                    _add(weights, backward[0].result())
                    backward.popleft()
        finally:  # an error or Ctrl-C: what has not begun is not wanted any more
            for future, _ in forward:
                future.cancel()
            for waiting in backward:
                waiting.cancel()
        return total

    def _lanes(self) -> Lanes:
        """Lanes of a step: one, where what they draw or synchronise has to come in order, and where
        there is no attention to speak of, so that gradients of embeddings are most of the work."""
        network = plain(self.model)
        one = (
            self.accelerator.distributed_type != DistributedType.NO
            or enable(network.backbone) is None
            or self.args.gradient_checkpointing
            or draws(network.backbone)
        )
        lanes = lanes_for(self.args.device, self.batch_tokens)
        return Lanes(1, lanes.threads) if one else lanes

    def _piece_loss(self, model: Any, piece: dict[str, Any], labels: int, pairs: int) -> Tensor:
        target = take_targets(piece)
        with self.compute_loss_context_manager():
            return self._loss(model(**piece).logits, target, labels, pairs)

    def _loss(self, logits: Tensor, target: Targets, labels: int, pairs: int) -> Tensor:
        loss = level_cross_entropy(
            logits,
            target.labels,
            soft_labels=target.soft,
            class_weights=self.class_weights,
            smoothing=self.label_smoothing,
            num_items=labels,
        )
        if target.sides is not None and self.pair_weight:
            weights = self._dimension_weights()
            loss = loss + self.pair_weight * pairwise_loss(
                logits, target.sides, weights, num_pairs=pairs
            )
        if target.sides is not None and self.gap_weight:
            loss = loss + self.gap_weight * gap_loss(
                logits,
                target.labels,
                target.sides,
                soft_labels=target.soft,
                num_pairs=pairs,
            )
        return loss

    def _dimension_weights(self) -> Tensor:
        dataset: Any = self.train_dataset
        rubric: Rubric = dataset.rubric
        return torch.tensor([rubric.weights[name] for name in rubric.names])

    def _over_processes(self, labels: int, pairs: int, pieces: int) -> tuple[int, int, int]:
        """Labels and pairs of the whole step, and the most pieces that any process has."""
        if self.accelerator.num_processes == 1:
            return labels, pairs, pieces
        mine = torch.tensor([[labels, pairs, pieces]], device=self.args.device)
        every = self.accelerator.gather(mine)
        return int(every[:, 0].sum()), int(every[:, 1].sum()), int(every[:, 2].max())

    def _without_sync(self, model: Any, last: bool) -> contextlib.AbstractContextManager[Any]:
        # DeepSpeed goes by the accelerator's sync_gradients instead.
        if last or self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            return contextlib.nullcontext()
        context: contextlib.AbstractContextManager[Any] = self.accelerator.no_sync(model)
        return context

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: pieces have no shape in common."""
        return 0
