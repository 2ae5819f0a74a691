"""Answers of a policy to a file of prompts, as rows that `prefer`, `score` and `audit` read.

Blocks are kept beside the file as they come; a killed run goes on and ends in the same file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reward_model.llm import Answer as Said
from reward_model.llm import Caller, ChatMessage, Request, UnansweredError, open_llm
from reward_model.policy.base import find_policy, open_policy
from reward_model.policy.generate import Answer, Manner, answer_blocks, blocks
from reward_model.policy.rows import PolicyRow, read_rows
from reward_model.records import (
    Stopped,
    Text,
    UserError,
    digest,
    read_object,
    refuse_folder,
    write_json,
    write_jsonl,
)
from reward_model.records.appending import Appender, locked
from reward_model.records.files import read_jsonl
from reward_model.records.terminal import console, progress

LENGTH = 1024
"""Tokens of prompt and answer where none are said."""


def sample(
    policy: str,
    prompts: str,
    out: Path,
    manner: Manner,
    *,
    max_length: int = LENGTH,
    max_rows: int | None = None,
    device: str | None = None,
    budget_usd: float | None = None,
) -> int:
    """Write the answers; how many rows.

    Raises:
        UserError: wrong input, or a file made by other settings.
        Stopped: interrupted; what was answered is kept.
    """
    refuse_folder(out)
    if budget_usd is not None and not _is_api(policy):
        raise UserError(
            "--budget with a policy of this machine", expected="a provider that is paid"
        )
    if _is_api(policy) and (device is not None or max_length != LENGTH):
        raise UserError(
            f"--device or --max-length with {policy}", expected="a policy of this machine"
        )
    read = read_rows(prompts, "prompts", max_rows=max_rows, seed=manner.seed)
    if _is_api(policy):
        return asyncio.run(_ask(policy, read.rows, out, manner, budget_usd))
    opened = open_policy(find_policy(policy), device=device)
    room = min(manner.max_new_tokens, max_length - 16)
    fitted = opened.frame.fit(read.rows, max_length, room=room)
    made = {
        "policy": opened.place.digest,
        **manner._asdict(),
        "max_length": max_length,
        "prompts": digest([row.key for row in fitted.rows]),
    }
    if _is_done(out, made):
        return len(fitted.rows)
    if fitted.cut:
        console().print(f"{fitted.cut:,} prompts lost their middle to leave room for an answer")
    ids = opened.frame.prompt_ids([row.prompt for row in fitted.rows])
    parts = out.with_name(f"{out.name}.parts.jsonl")
    found: list[list[Answer]] = [[] for _ in ids]
    with locked(out):
        done = _read_parts(parts, made, found)
        total = len(blocks(ids, manner.n))
        try:
            with Appender(parts) as file, progress(transient=True) as bar:
                if not done and not parts.stat().st_size:
                    file.append({"made": made})
                task = bar.add_task("sampling", total=total, completed=done, note="")
                for block in answer_blocks(opened, ids, manner, skip=done):
                    file.append({"block": [[i, [a._asdict() for a in said]] for i, said in block]})
                    for i, said in block:
                        found[i] = said
                    bar.update(task, advance=1)
        except KeyboardInterrupt:
            raise Stopped(
                f"{parts} keeps what was sampled; run the same command to go on"
            ) from None
        short = {k: v for k, v in made.items() if k != "prompts"}
        rows = (
            _row(row, [a.text for a in said], {
                **short,
                "finished": [a.finished for a in said],
                "tokens": [len(a.ids) for a in said],
            })
            for row, said in zip(fitted.rows, found, strict=True)
        )  # fmt: skip
        count = write_jsonl(out, rows)
        write_json(_beside(out), made)
        parts.unlink()
    return count


def _is_api(policy: str) -> bool:
    return policy.partition(":")[0] in {"openai", "dashscope", "offline", "scripted"}


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.config.json")


def _is_done(out: Path, made: dict[str, Any]) -> bool:
    if not out.exists():
        return False
    before = read_object(_beside(out)) or {}
    differing = [name for name in made if before.get(name) != made[name]]
    if differing:
        raise UserError(
            f"a file made with other {', '.join(differing)}",
            expected="the settings it was made with",
            mend="name another file with --out, or remove it",
            path=out,
        )
    console().print(f"{out} is finished; nothing is left to do", markup=False)
    return True


def _read_parts(parts: Path, made: dict[str, Any], found: list[list[Answer]]) -> int:
    """Blocks that are there, put into `found`; those of other settings are thrown away."""
    if not parts.exists():
        return 0
    with Appender(parts):
        pass  # its torn last line goes
    lines = list(read_jsonl(parts, allow_empty=True))
    if not lines or lines[0].value.get("made") != made:
        parts.unlink()
        return 0
    for line in lines[1:]:
        for place, said in line.value["block"]:
            found[place] = [Answer(**one) for one in said]
    return len(lines) - 1


def _row(row: PolicyRow, texts: Sequence[str], metadata: dict[str, Any]) -> dict[str, Any]:
    kept = row.about.get("metadata")
    own = {**kept} if isinstance(kept, dict) else {}
    return {
        "prompt": plain(row.prompt),
        "completions": list(texts),
        "metadata": {**own, "prompt_id": row.group, **metadata},
    }


def plain(prompt: Text) -> Any:
    """A prompt as JSON."""
    return prompt if isinstance(prompt, str) else [m.model_dump() for m in prompt]


async def _ask(
    model: str, rows: Sequence[PolicyRow], out: Path, manner: Manner, budget_usd: float | None
) -> int:
    """The same from a policy behind an API: the ledger keeps every answer."""
    llm = open_llm(model)
    made = {"policy": model, **manner._asdict(), "prompts": digest([row.key for row in rows])}
    if _is_done(out, made):
        return len(rows)

    async def one(caller: Caller, row: PolicyRow, draw: int) -> Said | None:
        turns = (
            (ChatMessage(role="user", content=row.prompt),)
            if isinstance(row.prompt, str)
            else tuple(ChatMessage.model_validate(m.model_dump()) for m in row.prompt)
        )
        request = Request(
            messages=turns,
            temperature=manner.temperature,
            max_tokens=manner.max_new_tokens,
            seed=manner.seed + draw,
            sample=draw,
        )
        try:
            return await caller.complete(llm, request)
        except UnansweredError:
            return None

    ledger = out.with_name(f"{out.name}.calls.jsonl")
    async with Caller(ledger=ledger, budget_usd=budget_usd) as caller:
        try:
            jobs = [one(caller, row, draw) for row in rows for draw in range(manner.n)]
            said = await asyncio.gather(*jobs)
        finally:
            await llm.close()
    missing = sum(answer is None for answer in said)
    told = []
    for i, row in enumerate(rows):
        replies = [a.reply for a in said[i * manner.n : (i + 1) * manner.n] if a is not None]
        if replies:
            metadata = {
                "policy": model,
                **manner._asdict(),
                "finished": [reply.finish_reason != "length" for reply in replies],
                "tokens": [reply.usage.completion_tokens for reply in replies],
            }
            told.append(_row(row, [reply.text for reply in replies], metadata))
    write_jsonl(out, told)
    if missing:
        raise Stopped(
            f"{missing:,} of {len(said):,} answers are missing, {out} holds the others; "
            "run the same command to ask for them again"
        )
    write_json(_beside(out), made)
    return len(told)


__all__ = ["Manner", "plain", "sample"]
