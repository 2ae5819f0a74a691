"""Where the labels of a file come from: who judged, who wrote, and whether they are related.

`provenance("scored.jsonl")` reads the first records; the model card says what it found.
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

from reward_model.llm.family import family
from reward_model.records import UserError, read_jsonl
from reward_model.records.files import Pathish
from reward_model.train.config import TrainConfig

READ = 1000
"""Records that are looked at: enough to see every judge and writer, quick on any file."""


def provenance(path: Pathish) -> dict[str, Any] | None:
    """Judges, writers, languages and kinds with counts of records; None for a file of another form.

    `related`: families that both a judge and a writer are of; a judge favours its relatives' text.
    """
    judges, rubrics, samples, writers, languages, kinds = (Counter[str]() for _ in range(6))
    count = 0
    try:
        for line in itertools.islice(read_jsonl(path), READ):
            count += 1
            judge = _object(_object(line.value.get("scores")).get("judge"))
            metadata = _object(line.value.get("metadata"))
            judges[str(judge.get("model") or "not named")] += 1
            rubrics[str(judge.get("rubric") or "not named")] += 1
            samples[str(judge.get("samples") or "not named")] += 1
            languages[str(metadata.get("language") or "not named")] += 1
            kinds[str(metadata.get("kind") or "not named")] += 1
            made = (_object(metadata.get(f"{part}_metadata")) for part in ("gold", "defect"))
            names = {str(part["model"]) for part in made if part.get("model")}
            writers.update(names or {"not named"})
    except UserError:
        return None
    members = {
        member.strip()
        for judge in judges
        for member in judge.replace("+", ",").split(",")
        if member.strip() and judge != "not named"
    }
    known = {family(name) for name in writers if name != "not named"}
    return {
        "records_read": count,
        "judges": _counts(judges),
        "rubrics": _counts(rubrics),
        "samples": _counts(samples),
        "writers": _counts(writers),
        "languages": _counts(languages),
        "kinds": _counts(kinds),
        "related": sorted(known & {family(member) for member in members}),
    }


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _counts(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def training_part(config: TrainConfig, metrics: dict[str, Any]) -> dict[str, Any]:
    """What a card keeps of a training run: settings without places on a disk, and its figures."""
    settings = {
        name: value
        for name, value in config.model_dump(mode="json").items()
        if not isinstance(getattr(config, name), Path) and name not in {"cache_dir", "rubric"}
    }
    if Path(config.base_model).is_dir():
        settings["base_model"] = Path(config.base_model).resolve().name
    long = {"history", "loss"}
    return {
        "settings": settings,
        "labels_from": provenance(config.scored),
        **{name: value for name, value in metrics.items() if name not in long},
    }
