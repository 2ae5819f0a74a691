"""Anything that gives a text a number: our models, scalar models, judges, servers, functions."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward_model.measure.comparison import KEPT
from reward_model.records import Text, UserError, as_text, digest, is_folder, is_there, read_object
from reward_model.records.chat.messages import as_turns
from reward_model.records.errors import first_line
from reward_model.records.hub import check_there, is_hub_id
from reward_model.rubrics import load_rubric

Give = Callable[[Sequence[Text], Sequence[str]], list[float | None]]
"""(prompts, responses) -> a reward each; None is no opinion."""

JUDGES = ("openai:", "dashscope:", "scripted:")
LENGTH = "length"


@dataclass
class Reward:
    """A reward and what it is called in the table."""

    name: str
    kind: str
    """`model`, `scalar`, `judge`, `server`, `function` or `length`."""
    open: Callable[[], Give]
    """Loads it: nothing is loaded before all data are read."""


def find_reward(
    spec: str,
    *,
    rubric: str = "helpsteer",
    out: Path | None = None,
    base_url: str | None = None,
    device: str | None = None,
) -> Reward:
    """What a name stands for.

    Args:
        spec: `[NAME=]` and a model's folder, `openai:MODEL`, `dashscope:MODEL`, `offline`, the
            address of a server, `FILE.py:FUNCTION` or `MODULE:FUNCTION`, `length`, or the folder or
            hub id of a scalar `*ForSequenceClassification`.
        rubric: what a judge grades.
        out: folder of the ledgers of judges.

    Raises:
        UserError: no such thing.
    """
    name, _, what = spec.rpartition("=") if "=" in spec and "://" not in spec else ("", "", spec)
    if what == LENGTH:
        return Reward(name or LENGTH, LENGTH, lambda: _length)
    if what == "offline" or what.startswith(JUDGES):
        from reward_model.bench.judging import Judge

        grades = load_rubric(rubric)
        ledger = (out or Path()) / f"calls.{digest([what, grades.id, base_url], 8)}.jsonl"
        judge = Judge(what, grades, ledger, base_url=base_url)
        return Reward(name or what, "judge", lambda: judge)
    if what.startswith(("http://", "https://")):
        return Reward(name or what, "server", lambda: _source(what, device))
    path = Path(what)
    if (path / KEPT).exists():
        return Reward(name or path.name, "scalar", lambda: _kept(what, device))
    if is_folder(path) and (read_object(path / "config.json") or {}).get("rubric"):
        from reward_model.model.folder import read_rubric

        read_rubric(path)  # before anything is scored: each model is loaded when its turn comes
        return Reward(name or path.name, "model", lambda: _source(what, device))
    module, colon, function = what.rpartition(":")
    if colon and module and function.isidentifier():
        return Reward(name or what, "function", lambda: _function(module, function))
    if is_folder(path) or (not is_there(path) and is_hub_id(what)):
        check_there(what)
        return Reward(name or path.name, "scalar", lambda: _scalar(what, device))
    raise UserError(
        f"no reward {what!r}",
        expected="a model's folder, a hub id OWNER/NAME, openai:MODEL, dashscope:MODEL, offline, "
        "http://HOST:PORT, FILE.py:FUNCTION, or length",
    )


def _length(prompts: Sequence[Text], responses: Sequence[str]) -> list[float | None]:
    return [float(len(response)) for response in responses]


def _source(model: str, device: str | None) -> Give:
    from reward_model.rlhf.source import open_source

    source = open_source(model, device=device)

    def give(prompts: Sequence[Text], responses: Sequence[str]) -> list[float | None]:
        return [score.reward for score in source.scores(list(prompts), list(responses))]

    return give


def _function(module: str, function: str) -> Give:
    """A function in the manner of TRL: `(prompts, completions) -> numbers`."""
    try:
        if module.endswith(".py"):
            spec = importlib.util.spec_from_file_location("bench_reward", module)
            if spec is None or spec.loader is None or not Path(module).exists():
                raise UserError("no such file", expected="FILE.py:FUNCTION", path=Path(module))
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
        else:
            loaded = importlib.import_module(module)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{module} that cannot be imported: {first_line(error)}") from None
    found = getattr(loaded, function, None)
    if not callable(found):
        raise UserError(f"no function {function!r} in {module}")

    def give(prompts: Sequence[Text], responses: Sequence[str]) -> list[float | None]:
        try:
            given = found(prompts=list(prompts), completions=list(responses))
            values = [_number(value) for value in given]
        except Exception as error:
            where = f"{module}:{function}"
            raise UserError(
                f"{where} failed: {type(error).__name__}: {first_line(error)}"
            ) from None
        if len(values) != len(responses):
            raise UserError(f"{len(values)} rewards for {len(responses)} responses")
        return values

    return give


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


BATCH = 8


def _kept(folder: str, device: str | None) -> Give:
    """What `evaluate --compare-out` kept."""
    from reward_model.measure.comparison.kept import read_scalar

    return read_scalar(folder, device)


def _scalar(name: str, device: str | None) -> Give:
    """A one-label sequence classifier of transformers, its texts in its own chat template."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from reward_model.model.device import best_device, checked_device
    from reward_model.model.quiet import UNREADABLE, check_vocabulary, quiet

    place = checked_device(device) if device else best_device()
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(name)
            model = AutoModelForSequenceClassification.from_pretrained(name)
    except (*UNREADABLE, ImportError) as error:
        raise UserError(
            f"a model that cannot be loaded: {first_line(error)}",
            expected="a *ForSequenceClassification with one label",
            path=Path(name),
        ) from None
    check_vocabulary(tokenizer, name)
    if model.config.num_labels != 1:
        raise UserError(f"{model.config.num_labels} labels", expected="one", path=Path(name))
    model.to(place).eval()
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    limit = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 4096))

    def text(prompt: Text, response: str) -> str:
        if tokenizer.chat_template:
            turns = [*as_turns(prompt), {"role": "assistant", "content": response}]
            return str(tokenizer.apply_chat_template(turns, tokenize=False))
        return f"{as_text(prompt)}\n\n{response}"

    def give(prompts: Sequence[Text], responses: Sequence[str]) -> list[float | None]:
        texts = [text(p, r) for p, r in zip(prompts, responses, strict=True)]
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        rewards: list[float | None] = [None] * len(texts)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            inputs = tokenizer(
                [texts[at] for at in rows],
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=limit,
                add_special_tokens=not tokenizer.chat_template,
            ).to(place)
            with torch.inference_mode():
                logits = model(**inputs).logits[:, 0].float().tolist()
            for at, value in zip(rows, logits, strict=True):
                rewards[at] = _number(value)
        return rewards

    return give
