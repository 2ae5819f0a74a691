"""TRL's RewardTrainer with the settings of a run of ours."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PrinterCallback

from reward_model.data.dataset import MultiDimRewardDataset
from reward_model.model.batches import collate, pad_id
from reward_model.model.device import device_tokens
from reward_model.stats.bootstrap import Ints
from reward_model.train.arguments import common_arguments, give_heads_a_rate
from reward_model.train.config import TrainConfig
from reward_model.train.machine import compute_dtype
from reward_model.train.progress import TrainingBar


class PairCollator:
    """Rows of a data set, chosen first, as the batch that RewardTrainer halves."""

    def __init__(self, data: MultiDimRewardDataset, pad: int) -> None:
        self.data, self.pad = data, pad

    def __call__(self, items: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        """One padded batch of 2 B texts."""
        rows = [item[f"{side}_ids"] for side in ("chosen", "rejected") for item in items]
        batch = collate([self.data[row] for row in rows], self.pad)
        return {name: value for name, value in batch.items() if "labels" not in name}


def make_trainer(
    settings: TrainConfig,
    run: Mapping[str, Any],
    network: Any,
    tokenizer: Any,
    data: MultiDimRewardDataset,
    learned: Ints,
    picked: Ints,
    folder: str,
    device: torch.device,
) -> Any:
    """RewardTrainer with the run's settings, on the kind of device that scores."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad_id(tokenizer))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = _trainer_class(network, settings.head_learning_rate)(
            model=network,
            args=_arguments(settings, run, data, len(picked) > 0, folder, device),
            train_dataset=_rows(learned),
            eval_dataset=_rows(picked) if len(picked) else None,
            data_collator=PairCollator(data, pad_id(tokenizer)),
            processing_class=tokenizer,
            callbacks=[TrainingBar()],
        )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _trainer_class(network: Any, head_learning_rate: float | None) -> Any:
    """RewardTrainer that counts its texts, gives the head its own rate and tells nobody."""
    from trl.trainer.reward_trainer import RewardTrainer

    class Trainer(RewardTrainer):
        texts_seen = 0

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self.texts_seen += len(inputs["input_ids"])
            return super().training_step(model, inputs, *args, **kwargs)

        def create_optimizer(self, model: Any = None) -> Any:
            optimizer = super().create_optimizer(model)
            if head_learning_rate is not None:
                give_heads_a_rate(optimizer, network, head_learning_rate)
            return optimizer

        def _send_telemetry(self) -> None:
            """A measurement of the user's data is nobody else's business."""

    return Trainer


def _arguments(
    settings: TrainConfig,
    run: Mapping[str, Any],
    data: MultiDimRewardDataset,
    picks: bool,
    folder: str,
    device: torch.device,
) -> Any:
    """The run's settings as TRL's, in batches that the device holds.

    `picks`: there are pairs to pick the best checkpoint by.
    """
    from trl.trainer.reward_config import RewardConfig

    gpu = device.type == "cuda"
    dtype = compute_dtype(settings) if gpu or settings.precision != "auto" else torch.float32
    steps = int(run["steps"])
    pairs = max(1, settings.batch_size // 2)
    longest = int(data.lengths.max())
    budget = settings.batch_tokens or device_tokens(device)
    fits = max(1, budget // (2 * longest))
    at_once = max(size for size in range(1, pairs + 1) if pairs % size == 0 and size <= fits)
    epoch = max(1, round(steps / float(run.get("epochs") or settings.epochs)))
    every = settings.eval_steps or epoch
    args = RewardConfig(
        **common_arguments(settings, steps, gpu=gpu, dtype=dtype),
        output_dir=folder,
        max_steps=steps,
        max_length=None,  # what is too long was cut as for the model, not dropped
        per_device_train_batch_size=at_once,
        per_device_eval_batch_size=fits,
        gradient_accumulation_steps=pairs // at_once,
        use_cpu=device.type == "cpu",
        eval_strategy="steps" if picks else "no",
        eval_steps=every,
        save_strategy="steps" if picks else "no",
        save_steps=every,
        save_only_model=True,
        load_best_model_at_end=picks,
        # Pair accuracy is soon 1 on a few hundred pairs and says no more.
        metric_for_best_model="eval_loss" if picks else None,
        greater_is_better=False if picks else None,
        report_to="none",
    )
    args._n_gpu = min(1, args.n_gpu)  # on several, each would take a whole batch
    return args


def _rows(pairs: Ints) -> Any:
    """Row numbers stand where token ids would; the collator looks them up, so that a million pairs
    of long texts are not copied.
    """
    from datasets import Dataset

    return Dataset.from_dict(
        {"chosen_ids": pairs[:, 0].tolist(), "rejected_ids": pairs[:, 1].tolist()}
    )
