"""Train a reward model: data, split, base model, trainer, best checkpoint.

`train(resolve(scored, output_dir, None, {"base_model": "tiny"}))` is `reward-model train`; it
leaves `best/` (the model folder), `split.json`, `metrics.json` and `train_config.json`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments, set_seed

from reward_model.base import Base, find_base
from reward_model.bundle import quiet, save_bundle
from reward_model.card import model_card
from reward_model.checkpoints import (
    CHECKPOINTS,
    METRICS,
    is_finished,
    last_checkpoint,
    prepare_folder,
)
from reward_model.data import (
    MultiDimRewardDataset,
    Sample,
    find_rubric,
    get_label_distribution,
    read_samples,
)
from reward_model.inputs import InputBuilder, pad_id
from reward_model.labels import label_warnings
from reward_model.model import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.progress import TrainingBar
from reward_model.records import Stopped, UserError, write_json
from reward_model.records.terminal import console
from reward_model.rubric import Rubric
from reward_model.split import Part, Split, fingerprint, shared_data_lines, split_groups
from reward_model.train_config import TrainConfig
from reward_model.trainer import (
    LevelCollator,
    MultiDimRewardTrainer,
    ValidationMetrics,
    level_weights,
)

OPTIMISTIC = 0.5
"""From this share of lines with figures in common, held-out prompts are about known companies."""


@dataclass(frozen=True)
class Texts:
    """What a run reads."""

    rubric: Rubric
    split: Split
    parts: dict[Part, list[Sample]]
    remarks: list[str]


@dataclass(frozen=True)
class Run:
    """A run, ready to start."""

    config: TrainConfig
    rubric: Rubric
    split: Split
    train: MultiDimRewardDataset
    validation: MultiDimRewardDataset
    test_texts: int
    tokenizer: Any
    model: MultiDimRewardModel
    remarks: list[str]
    """What the reader of any number from this run should know."""


def train(config: TrainConfig, *, resume: bool = False) -> Path:
    """Train, and return the folder of the best model.

    A run that was stopped goes on from its last checkpoint when settings and data are the same.

    Raises:
        UserError: wrong settings or input, or a loss that is no number.
        Stopped: interrupted; the checkpoints are kept.
    """
    out = console()
    texts = divide(config)
    if resume and is_finished(config, texts.split):
        out.print(f"{config.output_dir} is finished; nothing is left to do")
        return config.output_dir / "best"
    run = prepare(config, texts)
    with PartialState().main_process_first():
        checkpoint = prepare_folder(config, run.split, resume=resume)
    for words in run.remarks:
        out.print(f"[yellow]note:[/] {words}")
    if checkpoint is not None:
        out.print(f"going on from {checkpoint.name}")
    bar = TrainingBar()
    trainer = make_trainer(run, bar)
    failure: UserError | None = None
    try:
        with quiet():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except UserError as error:
        failure = error
    except KeyboardInterrupt:
        raise Stopped(
            "training was interrupted and its checkpoints are kept; "
            "run the same command to go on from the last one"
        ) from None
    finally:
        bar.close()
    if failure is not None and not _load_last_good(trainer, config.output_dir):
        raise failure
    if trainer.is_world_process_zero():
        _finish(run, trainer, finished=failure is None)
    if failure is not None:
        raise failure
    return config.output_dir / "best"


def divide(config: TrainConfig) -> Texts:
    """Read the texts and split them by group.

    Raises:
        UserError: whatever is wrong with the data.
    """
    if config.eval_share + config.test_share >= 1:
        raise UserError(
            f"eval_share {config.eval_share} and test_share {config.test_share}",
            expected="something left to train on: together below 1",
        )
    rubric = find_rubric(config.scored, config.rubric)
    samples, bare = read_samples(config.scored, rubric)
    remarks = [f"{bare} records carry no score and were left out"] if bare else []
    validation = 0.0 if config.eval_file else config.eval_share
    shares: dict[Part, float] = {
        "train": 1 - validation - config.test_share,
        "validation": validation,
        "test": config.test_share,
    }
    split = split_groups(samples, shares, config.seed)
    parts = {part: split.select(samples, part) for part in split.groups}
    if config.eval_file:
        parts["validation"], _ = read_samples(config.eval_file, rubric)
    remarks += label_warnings(get_label_distribution(parts["train"], rubric), rubric)
    common = shared_data_lines(parts["train"], parts["validation"] + parts["test"])
    if common >= OPTIMISTIC:
        remarks.append(
            f"{common:.0%} of the lines with figures in held-out prompts are in training prompts "
            "too: they are about the same companies, so held-out numbers are optimistic"
        )
    return Texts(rubric, split, parts, remarks)


def prepare(config: TrainConfig, texts: Texts | None = None) -> Run:
    """Load the base model and encode the texts; writes nothing.

    Raises:
        UserError: whatever is wrong with settings, data or base model.
    """
    texts = texts or divide(config)
    rubric, parts = texts.rubric, texts.parts
    # Every draw below (tiny backbone, heads) follows from the seed.
    set_seed(config.seed)
    with find_base(config, parts["train"]) as base:
        builder = InputBuilder(
            base.tokenizer,
            config.max_length,
            max_prompt_length=config.max_prompt_length,
            evidence=config.evidence,
        )
        model = base.model(_model_config(config, rubric, base, builder), config.attention)
    train_set = MultiDimRewardDataset(parts["train"], rubric, builder)
    validation = MultiDimRewardDataset(parts["validation"], rubric, builder)
    return Run(
        config,
        rubric,
        texts.split,
        train_set,
        validation,
        len(parts["test"]),
        base.tokenizer,
        model,
        texts.remarks + _truncation_words(train_set, config),
    )


def _model_config(
    config: TrainConfig, rubric: Rubric, base: Base, builder: InputBuilder
) -> MultiDimRewardConfig:
    return MultiDimRewardConfig.for_rubric(
        rubric,
        pooling=config.pooling or base.pooling,
        head=config.head,
        head_dropout=config.head_dropout,
        max_input_length=config.max_length,
        max_prompt_length=config.max_prompt_length,
        evidence=config.evidence,
        input_format=builder.input_format,
    )


def make_trainer(run: Run, bar: TrainingBar) -> MultiDimRewardTrainer:
    """The Trainer of a run."""
    config = run.config
    metrics = ValidationMetrics(run.validation.samples, run.rubric)
    validates = len(run.validation) > 0
    best = config.best_metric
    if validates and best == "qwk" and not metrics.can_rank:
        run.remarks.append("validation labels do not vary, so the loss picks the best checkpoint")
        best = "loss"
    when = "steps" if config.eval_steps else "epoch"
    gpu = torch.cuda.is_available()
    bf16 = config.precision == "bf16" or (
        config.precision == "auto" and gpu and torch.cuda.is_bf16_supported()
    )
    steps = -(-len(run.train) // (config.batch_size * config.accumulation)) * config.epochs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = TrainingArguments(
            output_dir=str(config.output_dir / CHECKPOINTS),
            num_train_epochs=config.epochs,
            max_steps=config.max_steps or -1,
            learning_rate=config.learning_rate,
            lr_scheduler_type=config.schedule,
            warmup_steps=round(config.warmup_share * (config.max_steps or steps)),
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            per_device_train_batch_size=config.batch_size,
            per_device_eval_batch_size=config.batch_size * 2,
            gradient_accumulation_steps=config.accumulation,
            gradient_checkpointing=config.gradient_checkpointing,
            bf16=bf16,
            fp16=config.precision == "fp16",
            eval_strategy=when if validates else "no",
            eval_steps=config.eval_steps,
            save_strategy=when,
            save_steps=config.eval_steps or 500,
            save_total_limit=2,
            load_best_model_at_end=validates,
            metric_for_best_model=f"eval_{best}" if validates else None,
            greater_is_better=best != "loss" if validates else None,
            logging_steps=10,
            # A loss that is no number has to be seen, not averaged away.
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            report_to=config.report_to,
            remove_unused_columns=False,
            dataloader_pin_memory=gpu,
            label_names=["labels"],
            ddp_find_unused_parameters=False,
            seed=config.seed,
        )
        trainer = MultiDimRewardTrainer(
            model=run.model,
            args=args,
            train_dataset=run.train,
            eval_dataset=run.validation if validates else None,
            data_collator=LevelCollator(pad_id(run.tokenizer)),
            processing_class=run.tokenizer,
            compute_metrics=metrics,
            callbacks=[bar],
            class_weights=None
            if config.class_weights == "none"
            else level_weights(
                run.train.samples, run.rubric, 1.0 if config.class_weights == "balanced" else 0.5
            ),
            label_smoothing=config.label_smoothing,
        )
    trainer.remove_callback(PrinterCallback)
    if config.patience and validates:
        trainer.add_callback(EarlyStoppingCallback(config.patience))
    return trainer


def _truncation_words(dataset: MultiDimRewardDataset, config: TrainConfig) -> list[str]:
    cut = dataset.truncation()
    words = []
    if cut["prompt"] and config.max_prompt_length != 0:
        words.append(f"{cut['prompt']:.0%} of the prompts lost their middle to fit")
    if cut["response"] >= 0.005:
        sides = [
            f"{cut[f'response_{s}']:.0%} of {s}"
            for s in ("chosen", "rejected", "single")
            if f"response_{s}" in cut
        ]
        words.append(
            f"{cut['response']:.0%} of the responses are too long and lost their middle "
            f"({', '.join(sides)}); a larger --max-length keeps more"
        )
    return words


def _load_last_good(trainer: MultiDimRewardTrainer, folder: Path) -> bool:
    from safetensors.torch import load_model

    best = trainer.state.best_model_checkpoint or last_checkpoint(folder)
    if best is None:
        return False
    model: Any = trainer.model
    load_model(model, str(Path(best) / "model.safetensors"))
    return True


def _finish(run: Run, trainer: MultiDimRewardTrainer, *, finished: bool) -> None:
    """Write `best/`, and `metrics.json` if the run is over."""
    history = [
        {name.removeprefix("eval_"): value for name, value in log.items() if _repeats(name)}
        for log in trainer.state.log_history
        if "eval_loss" in log
    ]
    step = trainer.state.best_global_step or trainer.state.global_step
    chosen = next((h for h in history if h["step"] == step), {})
    metrics = {
        "best_step": step,
        "steps": trainer.state.global_step,
        "validation": {k: v for k, v in chosen.items() if k not in {"step", "epoch"}},
        "history": history,
        "loss": [
            {"step": log["step"], "loss": log["loss"]}
            for log in trainer.state.log_history
            if "loss" in log
        ],
        "texts": {
            "train": len(run.train),
            "validation": len(run.validation),
            "test": run.test_texts,
        },
        "truncation": run.train.truncation(),
        "data": fingerprint([*run.train.samples, *run.validation.samples]),
        "rubric": run.rubric.id,
        "remarks": run.remarks,
    }
    folder = run.config.output_dir / "best"
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    save_bundle(
        model, run.tokenizer, run.rubric, folder, model_card(run.config, run.rubric, metrics)
    )
    run.split.write(folder)
    if finished:
        write_json(run.config.output_dir / METRICS, metrics)


def _repeats(name: str) -> bool:
    """Measures that the same seed gives again; timings are not."""
    return not name.endswith(("_runtime", "_per_second"))
