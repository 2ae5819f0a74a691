"""The model card: what a model folder says of itself, from what was measured and nothing else.

`record(folder, "training", result)` keeps one part as `card/training.json` and writes README.md
anew from all parts that are there; train, calibrate, evaluate and audit each bring theirs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from reward_model.model.card.text import card_text
from reward_model.records import UserError, read_object, write_json, write_text
from reward_model.records.errors import first_line
from reward_model.records.files import Pathish
from reward_model.records.terminal import console
from reward_model.rubrics import Rubric

Part = Literal["training", "calibration", "evaluation", "audit"]
PARTS: tuple[Part, ...] = get_args(Part)
FOLDER = "card"


def record(folder: Pathish, part: Part, result: dict[str, Any]) -> None:
    """Keep one part of the card in a model folder and write README.md from all of them.

    A folder that cannot be written (a read-only mount, another's model) is told, not failed: what
    was measured is worth more than its place in the card.
    """
    place = Path(folder)
    try:
        write_json(place / FOLDER / f"{part}.json", result)
        write_text(place / "README.md", card_text(read_parts(place), _rubric(place)))
    except UserError as error:
        console().print(f"warning: the model card was not written: {error}", markup=False)
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        console().print(
            f"warning: the model card was not written: a part of another shape in "
            f"{place / FOLDER} ({first_line(error)}); remove it and measure again",
            markup=False,
        )


def read_parts(folder: Pathish) -> dict[Part, dict[str, Any]]:
    """The parts that a model folder holds; one that cannot be read counts as absent."""
    found: dict[Part, dict[str, Any]] = {}
    for part in PARTS:
        value = read_object(Path(folder) / FOLDER / f"{part}.json")
        if value is not None:
            found[part] = value
    return found


def _rubric(folder: Path) -> Rubric | None:
    try:
        return Rubric.model_validate(read_object(folder / "rubric.json"))
    except ValidationError:
        return None
