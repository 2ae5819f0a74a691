"""A Bradley-Terry scalar by TRL's RewardTrainer, from the same base model, data and steps.

`train_scalar(model, scorer, texts, test, out)` is `reward-model evaluate --compare`: it trains what
most would use instead, on the token ids this package builds, and gives one number a measured text.
"""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from transformers import PrinterCallback, set_seed

from reward_model.data.dataset import MultiDimRewardDataset, Sample, pair_indices
from reward_model.data.tokens.inputs import InputBuilder
from reward_model.model.adapter import is_adapted, merge
from reward_model.model.batches import collate, pad_id, token_batches
from reward_model.model.card import read_parts
from reward_model.model.device import device_tokens
from reward_model.model.folder import builder_of
from reward_model.model.network import MultiDimRewardConfig
from reward_model.model.quiet import quiet
from reward_model.records import IGNORE, UserError, as_text, explain_os_error, write_json
from reward_model.records.errors import require
from reward_model.records.files import staged
from reward_model.rubrics import Rubric
from reward_model.score.scorer import RewardScorer
from reward_model.stats.bootstrap import Floats, Ints
from reward_model.train.base import find_base
from reward_model.train.config import TINY, TrainConfig
from reward_model.train.lora import add_lora
from reward_model.train.machine import compute_dtype
from reward_model.train.progress import TrainingBar

SCALAR = "bradley_terry"
"""Its name beside the baselines."""
KEPT = "bradley_terry.json"
"""Settings beside a scalar model that is kept; what marks a folder that may be replaced by one."""


@dataclass(frozen=True)
class Scalar:
    """The trained scalar model's word on the measured texts."""

    values: Floats
    """[n]; NaN for texts without an opinion. Any scale: only their order means something."""
    training: dict[str, Any]
    """How it was trained, beside how the model was."""


@dataclass(frozen=True)
class Texts:
    """What the scalar model learns from and is picked by."""

    train: Sequence[Sample]
    validation: Sequence[Sample]


def check_place(out: Path | None) -> None:
    """A folder that holds anything but an earlier scalar model is left alone.

    Raises:
        UserError: it does, or the folder cannot be put there.
    """
    if out is None:
        return
    wanted = "a new or empty folder for --compare-out, or one with an earlier scalar model"
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UserError("a link" if out.is_symlink() else "a file", expected=wanted, path=out)
    try:
        if out.exists() and any(out.iterdir()) and not (out / KEPT).exists():
            raise UserError("a folder with other files in it", expected=wanted, path=out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent):
            pass
    except OSError as error:
        raise explain_os_error(error, out) from None


def train_scalar(
    model: Path, scorer: RewardScorer, texts: Texts, test: Sequence[Sample], out: Path | None
) -> Scalar:
    """Train the scalar model and score the measured texts with it.

    Args:
        model: folder of the model it is compared with; its settings and steps are used.
        scorer: that model.
        texts: pairs of the groups that model learned from and was picked by.
        test: the texts to score.
        out: folder to keep the scalar model in; None throws it away.

    Raises:
        UserError: trl or the run's settings are missing, or there is no pair to learn from.
    """
    require("--compare", "rlhf", "trl")
    settings, run = read_run(model)
    learned, left_out = learnable(texts.train, scorer.rubric)
    picked, _ = preferences(texts.validation, scorer.rubric)
    set_seed(settings.seed)
    with (
        find_base(settings, texts.train) as base,
        tempfile.TemporaryDirectory(prefix="bradley-terry-") as checkpoints,
    ):
        known: Any = scorer.model.config
        network: Any = base.model(_one_number(known), settings)
        if settings.lora_rank:
            network = add_lora(network, settings, base.name_or_path)
        builder = builder_of(base.tokenizer, known)
        rows = [*texts.train, *texts.validation]
        data = MultiDimRewardDataset(rows, scorer.rubric, builder)
        trainer = _trainer(
            settings,
            run,
            network,
            base.tokenizer,
            data,
            learned,
            picked + len(texts.train),
            checkpoints,
            scorer.device,
        )
        with quiet():
            trainer.train()
        learner = trainer.accelerator.unwrap_model(trainer.model)
        values = _values(learner, builder, test, scorer)
        if out is not None:
            with staged(out) as folder, quiet():
                (merge(learner) if is_adapted(learner) else learner).save_pretrained(folder)
                base.tokenizer.save_pretrained(folder)
                write_json(folder / KEPT, settings.model_dump(mode="json"))
        training = _training(settings, run, trainer, learned, left_out, picked)
    return Scalar(values, training)


def read_run(model: Path) -> tuple[TrainConfig, dict[str, Any]]:
    """Settings and length of the run that made a model, as its card has them.

    A card keeps of a local base model the name alone; the folder above the model knows its place.

    Raises:
        UserError: the card does not have them, or the base model is not there any more.
    """
    card = read_parts(model).get("training", {})
    settings = card.get("settings")
    if not isinstance(settings, dict) or "steps" not in card:
        raise UserError(
            "a model without its training settings",
            expected="card/training.json, as reward-model train writes it",
            mend="--compare needs to know how the model was trained: train it again",
            path=model,
        )
    try:
        above = json.loads((model.parent / "train_config.json").read_bytes())["base_model"]
    except (OSError, ValueError, KeyError, TypeError):
        above = None
    if above is not None and Path(above).resolve().name == settings.get("base_model"):
        settings = {**settings, "base_model": above}
    try:
        found = TrainConfig.model_validate({"scored": "", **settings})
    except ValidationError as error:
        names = (".".join(map(str, e["loc"])) for e in error.errors(include_url=False))
        raise UserError(
            f"training settings that are not known here ({', '.join(names)})",
            expected="those that docs/train.md lists",
            mend="--compare needs to know how the model was trained: train it again",
            path=model / "card" / "training.json",
        ) from None
    _check_base(found, model)
    return found, card


def _check_base(settings: TrainConfig, model: Path) -> None:
    if settings.base_model == TINY:
        return
    try:
        with find_base(settings, ()):
            pass
    except UserError as error:
        raise UserError(
            f"no base model to start a scalar from: {error.found}",
            expected=f"{settings.base_model}, which the model was trained from",
            mend="put it into the folder you run this from, or leave out --compare",
            path=model,
        ) from None


def learnable(samples: Sequence[Sample], rubric: Rubric) -> tuple[Ints, dict[str, int]]:
    """`preferences` of the training texts.

    Raises:
        UserError: there are none.
    """
    learned, left_out = preferences(samples, rubric)
    if not len(learned):
        raise UserError(
            "no preference pair among the training texts",
            expected="pairs to train a Bradley-Terry model on",
            mend="evaluate on the file that was trained on, or name it with --train-data; with "
            "--split all every text is measured and none is left to train on",
        )
    return learned, left_out


def preferences(samples: Sequence[Sample], rubric: Rubric) -> tuple[Ints, dict[str, int]]:
    """(chosen, rejected) rows [p, 2] that say which is better, and how many pairs do not.

    Neutral pairs are controls; a pair whose weighted levels are equal has no better side.
    """
    pairs = pair_indices(samples)
    weights = np.array([rubric.weights[name] for name in rubric.names])
    kept = []
    for chosen, rejected in pairs:
        a, b = (np.array(samples[i].labels) for i in (chosen, rejected))
        both = (a != IGNORE) & (b != IGNORE)
        if not both.any() or abs(float((weights * (a - b))[both].sum())) > 1e-9:
            kept.append((chosen, rejected))
    left_out = {
        "neutral": len(pair_indices(samples, neutral=True)),
        "tied": len(pairs) - len(kept),
    }
    return np.array(kept, dtype=np.int64).reshape(-1, 2), left_out


def _one_number(config: MultiDimRewardConfig) -> MultiDimRewardConfig:
    """The same model with one head of one output: only what it learns from differs."""
    known = config.to_dict()
    for name in ("backbone_config", "id2label", "label2id", "temperatures", "num_labels"):
        known.pop(name, None)
    one = {"dimensions": ["reward"], "num_levels": 1, "weights": {"reward": 1.0}, "head": "multi"}
    return MultiDimRewardConfig(**{**known, **one}, num_labels=1)


class _PairCollator:
    """Rows of a data set, chosen first, as the batch that RewardTrainer halves."""

    def __init__(self, data: MultiDimRewardDataset, pad: int) -> None:
        self.data, self.pad = data, pad

    def __call__(self, items: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        """One padded batch of 2 B texts."""
        rows = [item[f"{side}_ids"] for side in ("chosen", "rejected") for item in items]
        batch = collate([self.data[row] for row in rows], self.pad)
        return {name: value for name, value in batch.items() if "labels" not in name}


def _trainer(
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
    from datasets import Dataset
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    class Trainer(RewardTrainer):
        texts_seen = 0

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self.texts_seen += len(inputs["input_ids"])
            return super().training_step(model, inputs, *args, **kwargs)

        def create_optimizer(self, model: Any = None) -> Any:
            optimizer = super().create_optimizer(model)
            if settings.head_learning_rate is not None:
                _rate_of_head(optimizer, network, settings.head_learning_rate)
            return optimizer

        def _send_telemetry(self) -> None:
            """A measurement of the user's data is nobody else's business."""

    def rows(pairs: Ints) -> Any:
        # Row numbers stand where token ids would; the collator looks them up, so that a million
        # pairs of long texts are not copied.
        return Dataset.from_dict(
            {"chosen_ids": pairs[:, 0].tolist(), "rejected_ids": pairs[:, 1].tolist()}
        )

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
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad_id(tokenizer))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = RewardConfig(
            output_dir=folder,
            max_steps=steps,
            max_length=None,  # what is too long was cut as for the model, not dropped
            learning_rate=settings.learning_rate,
            lr_scheduler_type=settings.schedule,
            warmup_steps=round(settings.warmup_share * steps),
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            per_device_train_batch_size=at_once,
            per_device_eval_batch_size=fits,
            gradient_accumulation_steps=pairs // at_once,
            gradient_checkpointing=settings.gradient_checkpointing,
            bf16=dtype is torch.bfloat16,
            fp16=dtype is torch.float16,
            use_cpu=device.type == "cpu",
            optim="adamw_8bit" if settings.optimizer == "adamw_8bit" else "adamw_torch_fused",
            eval_strategy="steps" if len(picked) else "no",
            eval_steps=every,
            save_strategy="steps" if len(picked) else "no",
            save_steps=every,
            save_total_limit=2,
            save_only_model=True,
            load_best_model_at_end=len(picked) > 0,
            # Pair accuracy is soon 1 on a few hundred pairs and says no more.
            metric_for_best_model="eval_loss" if len(picked) else None,
            greater_is_better=False if len(picked) else None,
            disable_tqdm=True,
            report_to="none",
            dataloader_pin_memory=gpu,
            seed=settings.seed,
        )
        args._n_gpu = min(1, args.n_gpu)  # on several, each would take a whole batch
        trainer = Trainer(
            model=network,
            args=args,
            train_dataset=rows(learned),
            eval_dataset=rows(picked) if len(picked) else None,
            data_collator=_PairCollator(data, pad_id(tokenizer)),
            processing_class=tokenizer,
            callbacks=[TrainingBar()],
        )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _rate_of_head(optimizer: Any, network: Any, rate: float) -> None:
    """Give the head groups of its own, as training gives the heads of the model."""
    named = network.named_parameters()
    head = {id(weight) for name, weight in named if re.search(r"(^|\.)heads\.\d", name)}
    for group in list(optimizer.param_groups):
        mine = [weight for weight in group["params"] if id(weight) in head]
        if mine:
            group["params"] = [weight for weight in group["params"] if id(weight) not in head]
            optimizer.add_param_group({**group, "params": mine, "lr": rate})


@torch.inference_mode()
def _values(
    network: Any, builder: InputBuilder, test: Sequence[Sample], scorer: RewardScorer
) -> Floats:
    """One number a text; NaN for an empty response."""
    network.eval()
    device = next(network.parameters()).device
    values = np.full(len(test), np.nan)
    encoded = {
        i: builder.one(sample.prompt, sample.response)
        for i, sample in enumerate(test)
        if as_text(sample.response).strip()
    }
    lengths = {i: len(one.input_ids) for i, one in encoded.items()}
    pad = pad_id(builder.tokenizer)
    for rows in token_batches(lengths, scorer.batch_tokens):
        batch = collate([encoded[i] for i in rows], pad)
        out = network(**{name: value.to(device) for name, value in batch.items()})
        values[rows] = out.logits.reshape(len(rows)).double().cpu().numpy()
    return values


def _training(
    settings: TrainConfig,
    run: Mapping[str, Any],
    trainer: Any,
    learned: Ints,
    left_out: dict[str, int],
    picked: Ints,
) -> dict[str, Any]:
    import trl

    steps, texts = int(run["steps"]), 2 * max(1, settings.batch_size // 2)
    epochs = float(run.get("epochs") or settings.epochs)
    best = trainer.state.best_global_step if len(picked) else None
    return {
        "by": f"trl.RewardTrainer {trl.__version__}",
        "pairs": {"train": len(learned), "validation": len(picked), "left_out": left_out},
        "steps": steps,
        "texts_a_step": {"model": settings.batch_size, SCALAR: texts},
        "texts_seen": {
            "model": round(epochs * run["texts"]["train"]),
            SCALAR: trainer.texts_seen,
        },
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
        "best_step": best or steps,
        "picked_by": "the loss on validation pairs" if len(picked) else "nothing: last step",
        "dropout": "none, as RewardTrainer has it (disable_dropout); the model has it in its heads"
        + (" and its backbone" if settings.backbone_dropout else ""),
    }
