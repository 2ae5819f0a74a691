"""Train a policy: rows, frame, groups, TRL's trainer, run folder.

`train(resolve("pairs.jsonl", None, {"base_model": "outputs/sft/best"}))` is
`reward-model policy train`; it leaves `best/` (or `adapter/`), `run.json` and `metrics.json`.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback

from reward_model.data.split import Split
from reward_model.model.quiet import quiet
from reward_model.policy import require_trl
from reward_model.policy.base import (
    Place,
    find_policy,
    folder_digest,
    is_tensor,
    read_tokenizer,
)
from reward_model.policy.frame import Fitted, Frame, unpaired
from reward_model.policy.generate import Manner
from reward_model.policy.rewards import Rewards, answering, read_rewards
from reward_model.policy.rows import PolicyRow, Rows, read_rows, told, with_instruction
from reward_model.policy.settings import PolicyConfig
from reward_model.policy.split import divide, part_of
from reward_model.policy.training import run as folder_of
from reward_model.policy.training.builder import Parts, build
from reward_model.policy.training.watch import Watch
from reward_model.records import Stopped, UserError
from reward_model.records.terminal import console
from reward_model.train.checkpoints import METRICS, last_checkpoint, write_failure
from reward_model.train.config import TrainConfig
from reward_model.train.machine import check_machine, spread
from reward_model.train.processes import processes, whole_weights
from reward_model.train.progress import TrainingBar

SMALL_MARGIN = 0.01


@dataclass
class Prepared:
    """Everything of a run but the model."""

    config: PolicyConfig
    place: Place
    frame: Frame
    read: Rows
    train: list[PolicyRow]
    validation: list[PolicyRow]
    split: Split
    fitted: Fitted
    rewards: Rewards | None = None
    watch: Watch | None = None
    remarks: list[str] = field(default_factory=list)


def train(config: PolicyConfig, *, resume: bool = False) -> Path:
    """Train, and return the folder of the run.

    A run that was stopped goes on from its last checkpoint when the same command is given.

    Raises:
        UserError: wrong settings or input, before any step.
        Stopped: interrupted; the checkpoints are kept.
    """
    require_trl()
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    ready = prepare(config)
    alone = folder_of.alone(config.folder) if processes().is_main_process else nullcontext()
    with alone:
        return _train(config, ready, resume=resume)


def _train(config: PolicyConfig, ready: Prepared, *, resume: bool) -> Path:
    first = processes().is_main_process
    with processes().main_process_first():
        checkpoint, over = (
            folder_of.begin(config, ready.split, _digests(ready), resume=resume)
            if first
            else _seen(config)
        )
    out = console()
    if over:
        if first:
            out.print(f"{config.folder} is finished; nothing is left to do", markup=False)
        return config.folder
    if first:
        _tell(ready)
        if checkpoint is not None:
            out.print(f"going on from {checkpoint.name}")
    with quiet():
        trainer = build(parts_of(ready))
    _same_rows(trainer, ready)
    bar = TrainingBar()
    _callbacks(trainer, ready, bar)
    if first:
        _tell_model(trainer)
    began = time.monotonic()
    try:
        with quiet():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except KeyboardInterrupt:
        raise Stopped(
            "training was interrupted and its checkpoints are kept; "
            "run the same command to go on from the last one"
        ) from None
    except (OSError, SafetensorError, RuntimeError) as error:
        if (unwritten := write_failure(error, config.folder)) is None:
            raise
        raise unwritten from None
    finally:
        bar.close()
    _finish(ready, trainer, time.monotonic() - began)
    return config.folder


def prepare(config: PolicyConfig) -> Prepared:
    """Rows, frame, groups and rewards; everything that can be wrong before a model is loaded.

    Raises:
        UserError: what is wrong, in words.
    """
    check_machine(
        TrainConfig(scored=Path(), lora_rank=config.lora_rank, load_in_4bit=config.load_in_4bit)
    )
    _check_whole(config)
    place = find_policy(config.base_model)
    if place.adapter is not None:
        raise UserError(
            "an adapter as --base-model",
            expected="a whole model",
            mend="name best/ of its run, or merge it first with peft's merge_and_unload",
            path=place.adapter,
        )
    if config.reference is not None and find_policy(config.reference).adapter is not None:
        raise UserError("an adapter as --reference", expected="a whole model")
    tokenizer = read_tokenizer(place)
    frame = Frame(tokenizer)
    kind = config.how.kind
    read = read_rows(config.data, kind, max_rows=config.max_rows, seed=config.seed)
    rows = with_instruction(read.rows, config.instruction, needed=frame.chat)
    if kind == "labelled":
        rows = unpaired(rows)
    room = config.max_new_tokens if config.how.online else 0
    if config.how.online and room >= config.max_length - 8:
        raise UserError(
            f"--max-new-tokens {room} of --max-length {config.max_length}",
            expected="room for a prompt beside the answer",
        )
    fitted = frame.fit(rows, config.max_length, room=room)
    if not fitted.rows:
        raise UserError(
            f"no row that fits {config.max_length} tokens: {fitted.too_long:,} answers alone are "
            "longer",
            expected="answers that fit whole",
            mend="raise --max-length",
            path=config.data,
        )
    split = divide(
        fitted.rows,
        eval_share=config.eval_share,
        test_share=config.test_share,
        seed=config.seed,
        data=read.data,
    )
    validation = part_of(fitted.rows, split, "validation")
    if config.max_eval_rows is not None and len(validation) > config.max_eval_rows:
        validation = random.Random(f"eval:{config.seed}").sample(validation, config.max_eval_rows)
    ready = Prepared(
        config, place, frame, read, part_of(fitted.rows, split, "train"), validation, split, fitted
    )
    if config.method == "kto":
        _check_thumbs(ready)
    if config.rewards:
        ready.rewards = read_rewards(
            config.rewards,
            risk=config.risk,
            centered=config.centered,
            numbers_only=config.method == "online-dpo",
        )
    if config.watch is not None:
        ready.watch = _watch(ready)
    return ready


def _check_whole(config: PolicyConfig) -> None:
    """Settings that read or embed with the policy itself, which FSDP and DeepSpeed take apart."""
    if not (spread() or {"fsdp", "deepspeed"} & set(config.trl)):
        return
    needs = {
        "--watch": config.watch is not None,
        "--virtual-tokens": config.embeds,
        "--preference of virtual tokens": config.preference is not None
        and is_tensor(config.preference),
    }
    for what, given in needs.items():
        if given:
            raise UserError(
                f"{what} with weights that are spread over processes",
                expected="a whole policy in every process",
                mend=f"start with docs/accelerate/ddp.yaml, or leave out {what.split()[0]}",
            )


def _watch(ready: Prepared) -> Watch:
    config = ready.config
    unique = {str(row.prompt): row for row in ready.validation}
    rows = list(unique.values())[: config.watch_prompts]
    if not rows:
        raise UserError("--watch without a held-out prompt", expected="a larger --eval-share")
    gold = answering(config.gold) if config.gold is not None else None
    return Watch(
        rows,
        ready.frame.tokenizer,
        Manner(max_new_tokens=config.max_new_tokens, seed=config.seed),
        answering(config.watch or ""),
        gold,
    )


def _check_thumbs(ready: Prepared) -> None:
    labels = {row.label for row in ready.train}
    if len(labels) < 2:
        up = True in labels
        raise UserError(
            f"only thumbs {'up' if up else 'down'} to train on",
            expected="both: KTO learns from the difference",
            mend="train on what was liked alone with --method sft" if up else "",
            path=ready.config.data,
        )


def _digests(ready: Prepared) -> dict[str, str]:
    config = ready.config
    found = {"base": ready.place.digest, "data": ready.read.data}
    if config.reference is not None:
        found["reference"] = folder_digest(config.reference)
    for spec in (*config.rewards, config.watch, config.gold):
        path = Path((spec or "").partition("#")[0].rpartition("=")[0] or (spec or ""))
        if spec and path.is_dir():
            found[f"reward {spec}"] = folder_digest(str(path))
    return found


def _seen(config: PolicyConfig) -> tuple[Path | None, bool]:
    """What the first process has just written, for the others."""
    return last_checkpoint(config.folder), (config.folder / METRICS).exists()


def _tell(ready: Prepared) -> None:
    """What is about to happen, before the first step."""
    config, out = ready.config, console()
    out.print(f"[bold]{config.label}[/] in {config.folder}", soft_wrap=True)
    say = out.print
    say(
        f"rows: {ready.read.read:,} read, {len(ready.fitted.rows):,} kept"
        f" ({len(ready.train):,} to train, {len(ready.validation):,} to look at, "
        f"{len(part_of(ready.fitted.rows, ready.split, 'test')):,} kept for a test), "
        f"{ready.fitted.tokens:,} tokens"
    )
    if ready.read.left_out:
        say(f"left out: {told(ready.read.left_out)}", markup=False)
    if ready.fitted.cut:
        say(f"{ready.fitted.cut:,} prompts lost their middle to fit {config.max_length:,} tokens")
    if ready.fitted.too_long:
        say(
            f"left out: {ready.fitted.too_long:,} rows whose answer alone is longer than "
            f"{config.max_length:,} tokens"
        )
    row = ready.train[0]
    text = ready.frame.rendered(row.prompt, row.chosen or None)
    shown = text if len(text) <= 400 else f"{text[:200]} […] {text[-200:]}"
    say(f"the first row, as the policy reads it:\n{shown!r}", markup=False)


def _tell_model(trainer: Any) -> None:
    weights = [(p.numel(), p.requires_grad) for p in trainer.model.parameters()]
    total, learn = sum(n for n, _ in weights), sum(n for n, trains in weights if trains)
    console().print(f"weights: {learn:,} of {total:,} learn")


def parts_of(ready: Prepared) -> Parts:
    """What a trainer is built of."""
    return Parts(
        ready.config,
        ready.place,
        ready.frame,
        ready.train,
        ready.validation,
        ready.rewards,
        ready.watch,
    )


def _same_rows(trainer: Any, ready: Prepared) -> None:
    """TRL trains on exactly the rows that were counted."""
    have = len(trainer.train_dataset)
    if have != len(ready.train):
        raise UserError(
            f"{have:,} of {len(ready.train):,} rows left by the trainer",
            expected="all of them: they were fitted to --max-length",
            mend="leave fields that drop rows out of --set",
        )


def _callbacks(trainer: Any, ready: Prepared, bar: TrainingBar) -> None:
    for one in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(one)
    if ready.watch is not None:
        trainer.add_callback(ready.watch)
        if ready.config.patience:
            trainer.add_callback(EarlyStoppingCallback(ready.config.patience))
    trainer.add_callback(bar)
    trainer.add_callback(folder_of.LogFile(ready.config.folder))


def _finish(ready: Prepared, trainer: Any, seconds: float) -> None:
    weights = whole_weights(trainer)
    if not trainer.is_world_process_zero():
        return
    config, state = ready.config, trainer.state
    evaluations = [_numbers(log) for log in state.log_history if any("eval_" in k for k in log)]
    best = (
        next((e for e in evaluations if e.get("step") == state.best_global_step), None)
        if state.best_global_step
        else None
    )
    ready.remarks += _remarks(config, state.log_history)
    metrics = {
        "version": 1,
        "steps": state.global_step,
        "epochs": state.epoch,
        "seconds": round(seconds, 3),
        "last": evaluations[-1] if evaluations else None,
        "best": best,
        "kept": f"checkpoint-{state.best_global_step}" if best else "the last step",
        "rows": {
            "read": ready.read.read,
            "left_out": dict(ready.read.left_out),
            "too_long": ready.fitted.too_long,
            "prompts_cut": ready.fitted.cut,
            "train": len(ready.train),
            "validation": len(ready.validation),
            "test": len(part_of(ready.fitted.rows, ready.split, "test")),
        },
        "remarks": ready.remarks,
    }
    folder_of.finish(config, trainer, ready.frame.tokenizer, weights, metrics)
    for words in ready.remarks:
        console().print(f"[yellow]note:[/] {words}", soft_wrap=True)
    console().print(f"{config.folder} is finished: {state.global_step:,} steps", markup=False)


def _numbers(log: dict[str, Any]) -> dict[str, float]:
    return {
        k.removeprefix("eval_"): float(v)
        for k, v in log.items()
        if isinstance(v, int | float) and v == v and abs(v) != float("inf")
    }


def _remarks(config: PolicyConfig, history: Sequence[dict[str, Any]]) -> list[str]:
    found = []
    margins = [log["rewards/margins"] for log in history if "rewards/margins" in log]
    if margins and config.strength and abs(margins[-1]) < SMALL_MARGIN:
        found.append(
            f"the last reward margin is {margins[-1]:.4f}: hardly anything was learned; raise --lr"
            " or --epochs, or --beta, which of losses a token is 1 to 10"
        )
    if any(log.get("clamped", 0) > 0 for log in history):
        found.append("differences beyond 10 nats a token were clamped: a run that has gone astray")
    return found
