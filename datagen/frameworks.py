"""`datagen frameworks`: have a model write the analysis framework of each field.

Those that exist in the folder are kept; `offline` copies the ones that ship.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from datagen import acceptance
from datagen.fields import FIELDS, field_title, framework
from datagen.settings import Settings
from reward_model.llm import (
    LLM,
    Caller,
    ChatMessage,
    FatalError,
    Request,
    UnansweredError,
    fill,
    prompt_file,
)
from reward_model.llm.options import ModelOptions
from reward_model.llm.providers import open_llms
from reward_model.records import Stopped, UserError, write_json, write_text
from reward_model.records.terminal import console


def make_frameworks(settings: Settings, out: Path) -> None:
    """Write the frameworks that are missing under `out`.

    Raises:
        UserError: the place cannot be written, or the model cannot be called.
        Stopped: some are owed to another run.
    """
    if out.exists() and not out.is_dir():
        raise UserError("a file", expected="a folder", path=out)
    todo = [
        (field, language)
        for language in settings.languages
        for field in settings.fields
        if not _path(out, field, language).exists()
    ]
    kept = len(settings.fields) * len(settings.languages) - len(todo)
    terminal = console()
    if settings.llm[0] == "offline":
        for field, language in todo:
            write_text(_path(out, field, language), framework(field, language) + "\n")
        terminal.print(
            f"offline: ready frameworks ship with the package; {len(todo)} copied to {out}, "
            f"{kept} kept",
            markup=False,
        )
        return
    (llm,) = open_llms(settings.llm[:1], base_url=settings.base_url, options=settings)
    kept_options = {"fields", "language", "llm", "base_url", "temperature_gold", "seed"}
    kept_options |= set(ModelOptions.model_fields)
    write_json(out / "config.json", settings.model_dump(mode="json", include=kept_options))
    lost = asyncio.run(_write_all(llm, settings, todo, out))
    terminal.print(f"{len(todo) - len(lost)} written to {out}, {kept} kept", markup=False)
    if lost:
        raise Stopped(f"not written: {'; '.join(lost)}")


def _path(out: Path, field: str, language: str) -> Path:
    return out / language / f"{FIELDS[field]}.md"


async def _write_all(
    llm: LLM, settings: Settings, todo: list[tuple[str, str]], out: Path
) -> list[str]:
    async def write(field: str, language: str) -> str | None:
        prompt = fill(
            prompt_file("datagen", "frameworks", language), field=field_title(field, language)
        )
        for sample in range(settings.retries + 1):
            request = Request(
                messages=(ChatMessage(role="user", content=prompt),),
                temperature=settings.temperature_gold,
                max_tokens=settings.max_tokens,
                seed=settings.seed + sample,  # with the same one a provider says the same again
                sample=sample,
                **settings.asked(),
            )
            try:
                answer = await caller.complete(llm, request)
            except UnansweredError as error:
                again = "another model" if error.reason == "refused" else "the same command again"
                return f"{field} {language}: {error.reason} ({error.detail}), try {again}"
            reason = acceptance.problem(answer.reply, language)
            if reason is None:
                text = acceptance.clean(answer.reply.text)
                write_text(_path(out, field, language), text + "\n")
                return None
        return f"{field} {language}: {reason}, try another model or --seed"

    async with Caller(ledger=out / "calls.jsonl") as caller:
        try:
            results = await asyncio.gather(*(write(*item) for item in todo))
        except FatalError as error:
            raise UserError(f"a model that cannot be called: {error}") from None
        finally:
            await llm.close()
            write_json(out / "report.json", caller.report())
    return [result for result in results if result]
