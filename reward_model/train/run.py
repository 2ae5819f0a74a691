"""Train a reward model: data, split, base model, trainer, best checkpoint.

`train(resolve(scored, output_dir, None, {"base_model": "tiny"}))` is `reward-model train`; it
leaves `best/` (the model folder), `split.json`, `metrics.json` and `train_config.json`.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    TrainerCallback,
)

from reward_model.data.split import fingerprint
from reward_model.model.adapter import is_adapted, merge, merged_state, plain, save_adapter
from reward_model.model.batches import pad_id
from reward_model.model.card import record
from reward_model.model.folder import SCALE, save_bundle, weights_digest
from reward_model.model.quiet import quiet
from reward_model.records import Stopped, UserError, locked, read_object, write_json
from reward_model.records.terminal import console
from reward_model.stats.levels import POWERS
from reward_model.train.arguments import training_arguments
from reward_model.train.checkpoints import (
    ADAPTER,
    CONFIG,
    METRICS,
    PROBE,
    last_checkpoint,
    look,
    prepare_folder,
    write_failure,
)
from reward_model.train.config import TINY, TrainConfig
from reward_model.train.machine import settle_memory
from reward_model.train.prepare import TrainRun, divide, prepare
from reward_model.train.probe import begin_at_probe, probe_words, unfit_for_probe
from reward_model.train.processes import Weights, processes, whole_weights
from reward_model.train.progress import TrainingBar
from reward_model.train.provenance import training_part
from reward_model.train.steps import LevelCollator
from reward_model.train.trainer import MultiDimRewardTrainer
from reward_model.train.validation import (
    ValidationMetrics,
    level_weights,
    measure_familiarity,
    measure_rewards,
)


def train(config: TrainConfig, *, resume: bool = False, overwrite: bool = False) -> Path:
    """Train, and return the folder of the best model.

    A run that was stopped goes on from its last checkpoint when settings and data are the same, or
    differ in what changes no result; one that is finished is left as it is.

    Args:
        config: settings.
        resume: go on, and make it an error if there is another run to go on with.
        overwrite: start anew, whatever the output folder holds.

    Raises:
        UserError: wrong settings or input, an output folder with another run or in use by one, or
            a loss that is no number.
        Stopped: interrupted; the checkpoints are kept.
    """
    out = console()
    if resume and overwrite:
        raise UserError("both --resume and --overwrite", expected="one of them, or none")
    texts = divide(config)
    # Said before the base model is loaded; the folder is looked at again under its lock.
    if look(config, texts.split, resume=resume, overwrite=overwrite).finished:
        out.print(f"{config.output_dir} is finished; nothing is left to do (--overwrite: anew)")
        best = config.output_dir / "best"
        if config.center_rewards and not (best / SCALE).exists():
            out.print(f"to centre its rewards: reward-model calibrate {best} TEXTS --rewards")
        return best
    run = prepare(config, texts, None if overwrite else last_checkpoint(config.output_dir))
    base = None if config.base_model == TINY else weights_digest(config.base_model)
    first = processes().is_main_process
    with _alone(config.output_dir) if first else contextlib.nullcontext():
        found = look(config, run.split, resume=resume, overwrite=overwrite, base=base)
        if first and found.harmless:
            out.print(f"going on with other {', '.join(found.harmless)}: the result is the same")
        with processes().main_process_first():
            # The others find what the first one has made ready.
            checkpoint = (
                prepare_folder(config, run.split, resume=resume, overwrite=overwrite, base=base)
                if first
                else last_checkpoint(config.output_dir)
            )
        for words in run.remarks if first else []:
            out.print(f"[yellow]note:[/] {words}")
        if checkpoint is not None and first:
            out.print(f"going on from {checkpoint.name}")
        return _train(run, checkpoint)


def _alone(folder: Path) -> AbstractContextManager[None]:
    """Keep other runs out of the output folder."""
    return locked(
        folder / CONFIG,
        found="a folder that another run is training in",
        mend="wait for it to end, or choose another --output-dir",
    )


def _train(run: TrainRun, checkpoint: Path | None) -> Path:
    """From the start or a checkpoint to `best/`."""
    config = run.config
    bar = TrainingBar(len(run.train.samples))
    trainer = make_trainer(run, bar)
    failure: UserError | None = None
    try:
        if checkpoint is None:
            trainer.args.eval_on_start = _probe(run, trainer) and trainer.eval_dataset is not None
        with quiet():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except UserError as error:
        failure = error
    except (OSError, SafetensorError, RuntimeError) as error:
        if (unwritten := write_failure(error, config.output_dir)) is None:
            raise
        raise unwritten from None
    except KeyboardInterrupt:
        raise Stopped(
            "training was interrupted and its checkpoints are kept; "
            "run the same command to go on from the last one"
        ) from None
    finally:
        bar.close()
    if failure is not None and not _load_last_good(trainer, config.output_dir):
        raise failure
    weights = whole_weights(trainer)
    if trainer.is_world_process_zero():
        _finish(run, trainer, weights, finished=failure is None)
    if failure is not None:
        raise failure
    return config.output_dir / "best"


def _probe(run: TrainRun, trainer: MultiDimRewardTrainer) -> bool:
    """Fit the heads on the untrained backbone where that is wanted and can be done."""
    if not run.config.probe or run.config.init is not None:
        return False
    if (why_not := unfit_for_probe(trainer)) is not None:
        run.remarks.append(f"heads begin at random: {why_not}")
        return False
    found = begin_at_probe(trainer, run.train, run.config, run.rubric.names)
    if trainer.is_world_process_zero():
        write_json(run.config.output_dir / PROBE, found)
        console().print(probe_words(found))
    return True


class _GoesOn(TrainerCallback):
    """What the Trainer's state of a checkpoint needs, where folder or patience have changed."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # It names the best checkpoint by its path, and a folder can be moved.
        if state.best_global_step is not None:
            place = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
            state.best_model_checkpoint = str(place)
        # A run that began without patience has no entry for it, and saving asks for one.
        state.stateful_callbacks.setdefault(EarlyStoppingCallback.__name__, {})


def make_trainer(run: TrainRun, bar: TrainingBar) -> MultiDimRewardTrainer:
    """The Trainer of a run."""
    config, tokens = settle_memory(run.config, run.model)
    metrics = ValidationMetrics(run.validation.samples, run.rubric)
    best = metrics.error_of = _picked_by(run, metrics)
    power = POWERS[config.class_weights]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = MultiDimRewardTrainer(
            model=run.model,
            args=training_arguments(config, len(run.train), tokens, best),
            train_dataset=run.train,
            eval_dataset=run.validation if best else None,
            data_collator=LevelCollator(
                pad_id(run.tokenizer), answers=bool(plain(run.model).config.length_heads)
            ),
            processing_class=run.tokenizer,
            compute_metrics=metrics,
            callbacks=[bar, _GoesOn()],
            class_weights=None
            if not power
            else level_weights(run.train.samples, run.rubric, power),
            label_smoothing=config.label_smoothing,
            pair_weight=config.pair_weight,
            gap_weight=config.gap_weight,
            head_learning_rate=config.head_learning_rate,
            texts_per_step=config.batch_size,
            batch_tokens=tokens,
        )
    trainer.remove_callback(PrinterCallback)
    if config.patience and best:
        trainer.add_callback(EarlyStoppingCallback(config.patience))
    return trainer


def _picked_by(run: TrainRun, metrics: ValidationMetrics) -> str | None:
    """The measure that picks the best checkpoint: the one asked for, where these texts have it."""
    best = run.config.best_metric
    why = None
    if len(run.validation) == 0:
        return None
    if best == "qwk" and not metrics.can_rank:
        why = "validation labels do not vary"
    if best == "pair_accuracy" and not metrics.pairs:
        why = "no pair among the validation texts"
    if why is None:
        return best
    run.remarks.append(f"{why}, so the loss picks the best checkpoint")
    return "loss"


def _load_last_good(trainer: MultiDimRewardTrainer, folder: Path) -> bool:
    best = trainer.state.best_model_checkpoint or last_checkpoint(folder)
    if best is None:
        return False
    # The Trainer's own reading knows adapters and shards.
    trainer._load_from_checkpoint(str(best), trainer.model)
    return True


def _finish(
    run: TrainRun, trainer: MultiDimRewardTrainer, weights: Weights | None, *, finished: bool
) -> None:
    """Write `best/`, and `metrics.json` if the run is over."""
    history = [
        {name.removeprefix("eval_"): value for name, value in log.items() if _repeats(name)}
        for log in trainer.state.log_history
        if "eval_loss" in log
    ]
    best, last = trainer.state.best_global_step, trainer.state.global_step
    step = last if best is None else best
    chosen = next((h for h in history if h["step"] == step), {})
    lost = [name for name in run.rubric.names if chosen.get(f"qwk_{name}", 1.0) <= 0]
    if lost:
        run.remarks.append(
            f"{', '.join(lost)}: no better than chance on the validation texts (kappa 0 or below); "
            "a lower --lr, more --epochs or more data may help"
        )
        console().print(f"[yellow]note:[/] {run.remarks[-1]}")
    folder = run.config.output_dir / "best"
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    if is_adapted(model):
        save_adapter(model, run.tokenizer, run.config.output_dir / ADAPTER, weights)
        if weights is None:
            model = merge(model)
        else:  # sharded: no process could build another model
            model, weights = plain(model), merged_state(model, weights)
    save_bundle(model, run.tokenizer, run.rubric, folder, state=weights)
    run.split.write(folder)
    where = torch.device(trainer.args.device)
    unknown = measure_familiarity(folder, run.originals, run.validation, where, run.config.seed)
    if unknown is not None:
        run.remarks.append(unknown)
    if run.config.center_rewards:
        texts = run.validation if len(run.validation) else run.originals
        file = (run.config.eval_file if len(run.validation) else None) or run.config.scored
        run.remarks.append(measure_rewards(folder, texts, file, where, run.config.seed))
        console().print(run.remarks[-1])
    metrics = {
        "best_step": step,
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
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
        **({"counterexamples": run.copies} if run.copies else {}),
        "truncation": run.train.truncation(),
        "data": fingerprint(itertools.chain(run.train.samples, run.validation.samples)),
        "rubric": run.rubric.id,
        **_probed(run.config.output_dir),
        "remarks": run.remarks,
    }
    record(folder, "training", training_part(run.config, metrics))
    if finished:
        write_json(run.config.output_dir / METRICS, metrics)


def _probed(folder: Path) -> dict[str, Any]:
    """How the start was fitted, of this run or of the one it goes on with; no time, as above."""
    found = read_object(folder / PROBE)
    return {} if found is None else {"probe": {k: found[k] for k in found if k != "seconds"}}


def _repeats(name: str) -> bool:
    """Measures that the same seed gives again; timings are not."""
    return not name.endswith(("_runtime", "_per_second"))
