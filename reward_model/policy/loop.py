"""`reward-model policy loop LOOP.toml`: sample, prefer, mix, train, evaluate, in rounds.

Every step is the function of its own command and leaves its own files, and these are the state: a
loop that was killed anywhere goes on with the same command. `method = "dpo"` makes it iterative
DPO, `method = "sft"` best-of-n fine-tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from reward_model.policy.base import BEST
from reward_model.policy.evaluation.evaluate import PolicyEvaluation, evaluate
from reward_model.policy.generate import Manner
from reward_model.policy.mixture import mix
from reward_model.policy.rows import PolicyRow, read_rows
from reward_model.policy.sample import plain, sample
from reward_model.policy.settings import resolve
from reward_model.records import (
    UserError,
    digest,
    locked,
    read_object,
    write_json,
    write_jsonl,
)
from reward_model.records.settings import read_settings
from reward_model.records.terminal import console
from reward_model.rlhf.preferences.make import run_prefer
from reward_model.rlhf.preferences.options import PreferOptions

STATE = "loop.json"
_NEW, _ORIGINAL, _PREVIOUS = "new", "original", "previous"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Mixture(_Table):
    """Shares of a round's pairs."""

    new: float = Field(default=1.0, gt=0, le=1)
    original: float = Field(default=0.0, ge=0, le=1)
    previous: float = Field(default=0.0, ge=0, le=1)


class Gate(_Table):
    """What a round must reach, or the loop stops with 1."""

    win_rate: float | None = Field(default=0.5, ge=0, le=1)
    """Share of held-out prompts where the reward prefers it to the first policy; ties are half."""
    max_kl: float | None = Field(default=None, gt=0)
    """Nats an answer from the first policy."""


class Loop(_Table):
    """A file of `policy loop`."""

    base: str
    """The policy to begin with."""
    reward: str
    """Model folder or address of a server."""
    gold: str | None = None
    """A second one, that nothing is trained on."""
    prompts: str
    original: str | None = None
    """Preferences one has already, for the mixture."""
    rounds: int = Field(default=3, ge=1)
    prompts_per_round: int = Field(default=2000, ge=1)
    test_prompts: int = Field(default=100, ge=1)
    """Never sampled for training; the same in every round."""
    n: int = Field(default=8, ge=2)
    temperature: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(default=256, ge=1)
    max_length: int = Field(default=1024, ge=32)
    min_margin: float = Field(default=0.0, ge=0, le=1)
    reference: Literal["first", "previous"] = "first"
    """`previous`: the drift of all rounds together has no bound."""
    mixture: Mixture = Mixture()
    train: dict[str, Any] = {}
    """Settings of `policy train`."""
    gate: Gate = Gate()
    seed: int = Field(default=0, ge=0)
    out: str = "outputs/loop"

    @field_validator("train")
    @classmethod
    def _known(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = {"base_model", "reference", "output_dir", "data", "project", "name"} & set(value)
        if taken:
            raise ValueError(f"{', '.join(sorted(taken))}: the loop sets them itself")
        if value.get("method", "dpo") not in ("dpo", "orpo", "simpo", "kto", "sft"):
            raise ValueError("method: dpo, orpo, simpo, kto or sft learn from a round's pairs")
        return value


def read_loop(path: Path) -> Loop:
    """Read the file.

    Raises:
        UserError: every mistake at once.
    """
    return read_settings(path, Loop, "a loop as docs/policies.md describes it")


def loop(settings: Loop, device: str | None = None) -> dict[str, Any]:
    """Run all rounds, or go on; what `loop.json` says.

    Raises:
        UserError: wrong settings, or a folder of another loop.
        Stopped: a step was interrupted; the same command goes on.
    """
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / STATE, found="a loop that is running"):
        rows = read_rows(settings.prompts, "prompts").rows
        asked, rounds = _divided(rows, settings)
        state = _begun(out, settings, digest([row.key for row in rows]))
        test = out / "test_prompts.jsonl"
        _write_prompts(test, asked)
        policy = settings.base
        for number, prompts in enumerate(rounds, 1):
            told = _round(number, prompts, policy, test, settings, out, device)
            state["rounds"] = [*state["rounds"][: number - 1], told]
            reasons = told["gate"]
            state["last_good"] = number if not reasons else number - 1
            state["stopped"] = "; ".join(reasons) if reasons else None
            state["done"] = not reasons and number == settings.rounds
            write_json(out / STATE, state)
            if reasons:
                break
            policy = str(out / f"round-{number}" / "policy" / BEST)
        return state


def _divided(
    rows: Sequence[PolicyRow], settings: Loop
) -> tuple[list[PolicyRow], list[list[PolicyRow]]]:
    """Prompts that are only asked to measure, and those of each round: no group in two of them."""
    groups: dict[str, list[PolicyRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    order = sorted(groups, key=lambda name: digest([settings.seed, name], 24))
    parts: list[list[PolicyRow]] = [[]]
    wanted = [settings.test_prompts, *[settings.prompts_per_round] * settings.rounds]
    for name in order:
        if len(parts[-1]) >= wanted[len(parts) - 1]:
            if len(parts) == len(wanted):
                break
            parts.append([])
        parts[-1] += groups[name]
    if len(parts) < len(wanted):
        raise UserError(
            f"{len(rows):,} prompts",
            expected=f"{sum(wanted):,}: {settings.test_prompts:,} to measure on and "
            f"{settings.prompts_per_round:,} for each of {settings.rounds} rounds",
            mend="give more, or lower test_prompts, prompts_per_round or rounds",
            path=settings.prompts,
        )
    return parts[0], parts[1:]


def _begun(out: Path, settings: Loop, prompts: str) -> dict[str, Any]:
    """The state so far; `rounds` and `gate` may change, all else makes another loop."""
    asked = settings.model_dump(mode="json")
    before = read_object(out / STATE)
    if before is not None:
        free = {"rounds", "gate", "out"}
        old = before.get("settings") or {}
        differing = [name for name in asked if name not in free and old.get(name) != asked[name]]
        if before.get("prompts") != prompts:
            differing.append("prompts (what they hold)")
        if differing:
            raise UserError(
                f"a loop with other {', '.join(differing)}",
                expected="the settings it was begun with",
                mend="name another folder with `out`",
                path=out / STATE,
            )
    return {
        "version": 1,
        "settings": asked,
        "prompts": prompts,
        "rounds": (before or {}).get("rounds", []),
        "last_good": (before or {}).get("last_good", 0),
        "stopped": None,
        "done": False,
    }


def _round(
    number: int,
    prompts: Sequence[PolicyRow],
    policy: str,
    test: Path,
    settings: Loop,
    out: Path,
    device: str | None,
) -> dict[str, Any]:
    """One round in its folder; what is finished there is not made again."""
    folder = out / f"round-{number}"
    done = read_object(folder / "round.json")
    if done is not None:
        return {**done, "gate": _gate(done, settings)}
    console().print(f"round {number} of {settings.rounds}", markup=False)
    folder.mkdir(parents=True, exist_ok=True)
    asked, samples = folder / "prompts.jsonl", folder / "samples.jsonl"
    _write_prompts(asked, prompts)
    manner = Manner(
        settings.n, settings.max_new_tokens, settings.temperature, 1, settings.seed + number
    )
    sample(policy, str(asked), samples, manner, max_length=settings.max_length, device=device)
    preferences, mixture = folder / "preferences", folder / "mixture.jsonl"
    if not mixture.exists():
        options = PreferOptions(min_margin=settings.min_margin, seed=settings.seed)
        made = run_prefer([Path(settings.reward), samples], preferences, options, device=device)
        if not made["counts"]["written"]:
            raise UserError(
                "no pair in a round",
                expected="answers that the reward tells apart",
                mend="draw more (n), at a higher temperature, or lower min_margin",
                path=folder,
            )
        sources = {_NEW: str(preferences / "train.jsonl")}
        if settings.original is not None:
            sources[_ORIGINAL] = settings.original
        if number > 1:
            sources[_PREVIOUS] = str(out / f"round-{number - 1}" / "preferences" / "train.jsonl")
        shares = settings.mixture.model_dump()
        mix(sources, shares, mixture, seed=settings.seed + number)
    flags = {
        **settings.train,
        "base_model": policy,
        "output_dir": folder / "policy",
        "seed": settings.train.get("seed", settings.seed),
    }
    method = settings.train.get("method", "dpo")
    if method == "dpo" and settings.reference == "first" and number > 1:
        flags["reference"] = settings.base
    from reward_model.policy.training.train import train

    train(resolve(str(mixture), None, flags))
    result, measured = evaluate(
        [str(folder / "policy")],
        PolicyEvaluation(
            data=str(mixture),  # known rows, whose numbers are skipped: the prompts are what counts
            prompts=str(test),
            reward=settings.reward,
            gold=settings.gold,
            reference=settings.base,
            skip=("pairs", "perplexity"),
            max_samples=settings.test_prompts,
            max_new_tokens=settings.max_new_tokens,
            max_length=settings.max_length,
            max_kl=settings.gate.max_kl,
            seed=settings.seed,
            device=device,
        ),
    )
    name = next(iter(result["runs"]))
    told = {
        "round": number,
        "pairs": _lines(preferences / "train.jsonl"),
        "trained_on": _lines(mixture),
        "measured": {
            k: v for k, v in measured[0].told.items() if isinstance(v, dict | float | int)
        },
        "problems": [problem["problem"] for problem in measured[0].problems],
        "run": name,
    }
    write_json(folder / "round.json", told)
    return {**told, "gate": _gate(told, settings)}


def _gate(told: dict[str, Any], settings: Loop) -> list[str]:
    """Why a round is no way on; nothing where it is one."""
    found, reasons = told["measured"], []
    least, most = settings.gate.win_rate, settings.gate.max_kl
    wins, ties = _value(found, "win_rate"), _value(found, "tie_rate") or 0.0
    if least is not None and wins is not None and wins + ties / 2 < least:
        reasons.append(f"round {told['round']} wins {wins + ties / 2:.0%} against the first policy")
    gold = (found.get("intervals") or {}).get("gold_change") or {}
    if gold.get("high") is not None and gold["high"] < 0:
        reasons.append(f"the gold reward of round {told['round']} fell")
    drift = _value(found, "kl")
    if most is not None and drift is not None and drift > most:
        reasons.append(f"round {told['round']} is {drift:.1f} nats from the first policy")
    return reasons


def _value(found: dict[str, Any], name: str) -> float | None:
    value = found.get(name)
    value = value.get("value") if isinstance(value, dict) else value
    return float(value) if isinstance(value, int | float) else None


def _write_prompts(path: Path, rows: Sequence[PolicyRow]) -> None:
    if not path.exists():
        write_jsonl(path, ({"prompt": plain(row.prompt), "prompt_id": row.group} for row in rows))


def _lines(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines)
