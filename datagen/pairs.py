"""`datagen pairs`: from options to the plan of a data set, and to the job that makes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from datagen import own
from datagen.companies import Company, shipped
from datagen.design import Slot, plan
from datagen.fields import framework
from datagen.job import Work, carry_out, check_place, ledger_of
from datagen.making import NotMade, PairMaker
from datagen.requests import Prompts
from datagen.settings import Settings
from reward_model.llm import LLM, split_model
from reward_model.llm.known import Known
from reward_model.llm.providers import open_llms
from reward_model.records import UserError, digest
from reward_model.records.terminal import console
from reward_model.rubrics import Rubric, load_rubric


def make_pairs(
    settings: Settings, out: Path, *, dry_run: bool = False, llms: list[LLM] | None = None
) -> None:
    """Make a data set, or go on with one.

    Args:
        llms: models that stand for those that the settings name, one for each.

    Raises:
        UserError: wrong input, or `out` was made with other options.
        Stopped: pairs are owed to another run.
    """
    check_place(settings, out, settings.statements)
    for name in settings.llm:
        split_model(name)
    rubric = load_rubric(settings.rubric)
    _check_rubric(rubric)
    settings, companies = _companies(settings)
    folder = Path(settings.frameworks) if settings.frameworks else None
    frameworks = {
        (field, language): framework(field, language, folder)
        for field in settings.fields
        for language in settings.languages
    }
    prompts = Prompts(settings, rubric, frameworks)
    slots = plan(settings, rubric, companies)
    from datagen.show import show_design

    show_design(slots, settings, rubric)
    if dry_run:
        from datagen.show import show_estimate

        left = _left(slots, settings, prompts, rubric, ledger_of(settings, out))
        show_estimate(slots, settings, prompts, out, left)
        return
    made_with = {
        "settings": settings.model_dump(mode="json"),
        "rubric": rubric.id,
        "companies": digest([[c.id, c.tables, c.prompt, c.statements] for c in companies]),
        "frameworks": digest([[*key, text] for key, text in sorted(frameworks.items())]),
    }
    work = Work(slots, made_with, lambda by, llms: PairMaker(by, llms, prompts, rubric))
    carry_out(settings, out, work, llms)


def _left(
    slots: Sequence[Slot], settings: Settings, prompts: Prompts, rubric: Rubric, ledger: Path
) -> list[int] | None:
    """Calls of each pair that the ledger has no answer to; None where there is no ledger to see."""
    if not ledger.is_file():
        return None
    screen = console()
    try:
        llms = open_llms(settings.llm, base_url=settings.base_url, options=settings)
    except UserError as error:
        screen.print(f"what {ledger} holds is not taken off: {error}", markup=False)
        return None
    left = asyncio.run(_asked(slots, PairMaker(known := Known(ledger), llms, prompts, rubric)))
    known.close()
    calls = (2 + settings.edit_gold) * len(slots)
    screen.print(f"{calls - sum(left):,} of {calls:,} answered already, in {ledger}", markup=False)
    return left


async def _asked(slots: Sequence[Slot], maker: PairMaker) -> list[int]:
    """Every pair made of what the ledger holds, as far as that goes."""
    left = []
    known = maker.caller
    assert isinstance(known, Known)
    for slot in slots:
        answered, lacking = known.answered.total(), known.lacking.total()
        with contextlib.suppress(NotMade):
            await maker.make(slot)
        # Without the report its edits cannot be asked about.
        begun = known.answered.total() > answered
        left.append(known.lacking.total() - lacking if begun else 2 + maker.settings.edit_gold)
    for llm in maker.llms:
        await llm.close()
    return left


def _companies(settings: Settings) -> tuple[Settings, list[Company]]:
    """The companies, and the settings with the fields and the language of a file of one's own."""
    if settings.statements is None:
        known = [c for c in shipped() if c.field in settings.fields] if settings.real else []
        return settings, known
    default = settings.fields[0] if len(settings.fields) == 1 else None
    path = Path(settings.statements)
    found = own.read_companies(path, default)
    settings = own.fitted(settings, found)
    found = [c for c in found if c.field in settings.fields]
    for field in settings.fields:
        usable = [
            c for c in found if c.field == field and c.language in {None, *settings.languages}
        ]
        if not usable:
            raise UserError(
                f"no company of {field} in {' or '.join(settings.languages)}",
                expected="one at least for each field",
                mend="name the fields of the file with --fields, its language with --language",
                path=path,
            )
    return settings, found


def _check_rubric(rubric: Rubric) -> None:
    lacking = [name for name in ("focuses", "degradations") if not getattr(rubric, name)]
    if lacking:
        raise UserError(
            f"rubric {rubric.name} without {' and '.join(lacking)}",
            expected="a rubric that says what to write and how to make it worse",
        )
