"""What has to hold before the first call: judges that can be opened, rows that can be scored, an
output that is new or was made with the same configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from judge.scoring.rows import Item, RowFile
from judge.settings import WITHOUT_EFFECT, Evidence, ScoreSettings
from reward_model.llm import LLM
from reward_model.llm.addresses import clean_name
from reward_model.llm.family import family
from reward_model.llm.providers import open_llms
from reward_model.records import UserError, digest, read_object
from reward_model.records.tables import told_of
from reward_model.records.terminal import console
from reward_model.rubrics import Rubric

_NAMED_BEFORE = {"d11f554f6c3e": "6b3f2c23bb94"}
"""Prompts without those of evidence, and what 0.1.0 called the same ones together with its own of
evidence, so that its scores go on where no evidence is shown."""


def open_judges(settings: ScoreSettings, rubric: Rubric) -> tuple[LLM, ...]:
    """The models that the settings name.

    Raises:
        UserError: one of them cannot judge by this rubric.
    """
    check_judges(settings, rubric)
    return open_llms(settings.llm, base_url=settings.base_url, options=settings)


def check_judges(settings: ScoreSettings, rubric: Rubric) -> None:
    """What can be said of the judges without opening them.

    Raises:
        UserError: one of them cannot judge by this rubric.
    """
    if len(set(settings.llm)) < len(settings.llm):
        raise UserError(
            "the same judge twice in --llm", expected="different judges", mend="use --samples"
        )
    if "offline" in settings.llm:
        from reward_model.llm.offline.judge import DIMENSIONS

        unknown = [name for name in rubric.names if name not in DIMENSIONS]
        if unknown:
            raise UserError(
                f"dimension(s) {', '.join(unknown)} of rubric {rubric.name}, which the embedded "
                "judge cannot grade",
                expected=f"only {', '.join(DIMENSIONS)}",
                mend="name a language model with --llm",
            )


class Seen(NamedTuple):
    """What a file holds."""

    texts: int = 0
    pairs: int = 0


def check_rows(rows: RowFile, settings: ScoreSettings) -> Seen:
    """Refuse rows that cannot be scored, and warn of judges that are related to the writers.

    Raises:
        UserError: a row that is none, has scores, or cannot be judged in this mode.
    """
    generators: set[str] = set()
    seen = Seen()
    for value, item, line in rows.items():
        with told_of(rows.path, line):
            _check_row(item, settings)
        seen = Seen(seen.texts + len(item.texts), seen.pairs + (item.pair is not None))
        generators.update(_writers(value, item))
    for judge in map(clean_name, settings.llm):
        related = sorted(name for name in generators if family(name) == family(judge))
        if related and family(judge) == "offline":
            console().print("note: the embedded judge is grading texts of the embedded writer")
        elif related:
            console().print(
                f"warning: judge {judge} grades texts by a model of its own family "
                f"({', '.join(related)}) and may favour them; use a judge of another family",
                markup=False,
            )
    return seen


def _check_row(item: Item, settings: ScoreSettings) -> None:
    if item.scored and not settings.overwrite_scores:
        raise UserError(
            "scores already",
            expected="rows without scores",
            mend="score them anew with --overwrite-scores",
        )
    if item.pair is None and settings.mode == "pairwise":
        raise UserError(
            "no pair",
            expected="pairs for --mode pairwise, which shows two texts side by side",
            mend="use another --mode for single answers",
        )


def _writers(value: dict[str, Any], item: Item) -> list[str]:
    """Models that a row names as its writers."""
    names: list[Any] = []
    about = value.get("metadata", value.get("meta"))
    if item.pair is not None:
        made = (item.pair.metadata.gold_metadata, item.pair.metadata.defect_metadata)
        names = [part.model for part in made if part is not None]
    if isinstance(about, dict):
        names += [about.get("model"), about.get("policy")]
    return [name for name in names if isinstance(name, str) and name]


def prompts_id(evidence: Evidence = "checks") -> str:
    """Fingerprint of the judge's prompt files; those of evidence count where it is shown."""
    from importlib.resources import files

    folder = files("judge.scoring") / "prompts"
    found = {f.name: f.read_text("utf-8") for f in folder.iterdir() if f.name.endswith(".md")}
    if evidence == "checks":
        return digest(found)
    own = digest({name: text for name, text in found.items() if not name.startswith("evidence.")})
    return _NAMED_BEFORE.get(own, own)


def configuration(rows: RowFile, settings: ScoreSettings, rubric: Rubric) -> dict[str, Any]:
    """Everything that decides the scores, as it is written beside them."""
    over = "both orders and the draws" if settings.mode == "pairwise" else "the draws"
    return {
        "command": "judge score",
        "settings": settings.model_dump(mode="json"),
        "rubric": rubric.id,
        "prompts": prompts_id(settings.evidence),
        "pairs": {"digest": rows.digest, "rows": len(rows)},
        "aggregate": f"mean over {over} of each judge, mean over judges, rounded half up",
    }


def check_out(out: Path, config_path: Path, config: dict[str, Any]) -> None:
    """Refuse an output that would lose something.

    Raises:
        UserError: it was made with another configuration.
    """
    if not out.exists():
        return
    before = read_object(config_path)
    settings = (before or {}).get("settings")
    if before is None or not isinstance(settings, dict):
        raise UserError(
            f"a file without a readable {config_path.name}",
            expected="no file, or one made by this command with the same settings",
            mend="delete it or choose another --out",
            path=out,
        )
    now = config["settings"]
    changes = [
        f"{name.replace('_', '-')} {was!r} before, {now[name]!r} now"
        for name in now
        if name not in WITHOUT_EFFECT and (was := settings.get(name, _usual(name))) != now[name]
    ]
    changes += [
        f"other {words} than before"
        for key, words in (("rubric", "rubric"), ("prompts", "judge prompts"), ("pairs", "pairs"))
        if before.get(key) != config[key]
    ]
    if changes:
        raise UserError(
            f"scores made with another configuration ({'; '.join(changes)})",
            expected="the same configuration",
            mend="delete it or choose another --out; calls already made stay in the ledger",
            path=out,
        )


def _usual(name: str) -> Any:
    """The default of a setting that an older file does not have."""
    return ScoreSettings.model_fields[name].default
