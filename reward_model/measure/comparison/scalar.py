"""A Bradley-Terry scalar by TRL's RewardTrainer, from the same base model, data and steps.

`train_scalar(model, scorer, texts, test, out)` is `reward-model evaluate --compare`: it trains what
most would use instead, on the token ids this package builds, and gives one number a measured text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from transformers import set_seed

from reward_model.data.dataset import MultiDimRewardDataset, Sample, pair_indices
from reward_model.data.tokens.inputs import InputBuilder
from reward_model.measure.comparison import KEPT
from reward_model.measure.comparison.trainer import make_trainer
from reward_model.model.adapter import is_adapted, merge
from reward_model.model.batches import collate, pad_id, token_batches
from reward_model.model.card import read_parts
from reward_model.model.folder import builder_of
from reward_model.model.network import MultiDimRewardConfig
from reward_model.model.quiet import quiet
from reward_model.records import (
    IGNORE,
    Text,
    UserError,
    as_text,
    explain_os_error,
    read_object,
    write_json,
)
from reward_model.records.errors import require
from reward_model.records.folders import staged
from reward_model.rubrics import Rubric
from reward_model.score.scorer import RewardScorer
from reward_model.stats.bootstrap import Floats, Ints
from reward_model.train.base import find_base
from reward_model.train.config import TINY, TrainConfig
from reward_model.train.lora import add_lora

SCALAR = "bradley_terry"
"""Its name beside the baselines."""


@dataclass(frozen=True)
class ScalarPeer:
    """The trained scalar model's word on the measured texts."""

    values: Floats
    """[n]; NaN for texts without an opinion. Any scale: only their order means something."""
    training: dict[str, Any]
    """How it was trained, beside how the model was."""


@dataclass(frozen=True)
class ScalarTexts:
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
    model: Path, scorer: RewardScorer, texts: ScalarTexts, test: Sequence[Sample], out: Path | None
) -> ScalarPeer:
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
        trainer = make_trainer(
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
        measured = [(sample.prompt, sample.response) for sample in test]
        values = values_of(learner, builder, measured, scorer.batch_tokens)
        if out is not None:
            with staged(out) as folder, quiet():
                (merge(learner) if is_adapted(learner) else learner).save_pretrained(folder)
                base.tokenizer.save_pretrained(folder)
                write_json(folder / KEPT, settings.model_dump(mode="json"))
        training = _training(settings, run, trainer, learned, left_out, picked)
    return ScalarPeer(values, training)


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
    above = (read_object(model.parent / "train_config.json") or {}).get("base_model")
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


@torch.inference_mode()
def values_of(
    network: Any, builder: InputBuilder, texts: Sequence[tuple[Text, Text]], batch_tokens: int
) -> Floats:
    """One number for each (prompt, response) [n]; NaN for an empty response."""
    network.eval()
    device = next(network.parameters()).device
    values = np.full(len(texts), np.nan)
    encoded = {
        i: builder.one(prompt, response)
        for i, (prompt, response) in enumerate(texts)
        if as_text(response).strip()
    }
    lengths = {i: len(one.input_ids) for i, one in encoded.items()}
    pad = pad_id(builder.tokenizer)
    for rows in token_batches(lengths, batch_tokens):
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
