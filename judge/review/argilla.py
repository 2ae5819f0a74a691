"""Reviews in the form of Argilla 2: records for `Dataset.records.from_json`, and its settings.

The contract: a JSON list of objects with id, fields, metadata, suggestions, responses and vectors,
where a suggestion is `{question: {value, score, agent}}` and a response `{question: [{value,
user_id}]}`; settings as `Settings.from_json` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reward_model.rubrics import Rubric

MOST_RATING = 10
"""Argilla's ratings go from 0 to 10."""


def question(column: str) -> str:
    """Argilla's name of the question in a column of a review.

    >>> question("A depth")
    'a_depth'
    """
    return column.lower().replace(" ", "_")


def record(
    code: str, prompt: str, first: str, second: str, levels: Mapping[str, int | None], agent: str
) -> dict[str, Any]:
    """One record; levels of the judge, where they are to be shown, are suggestions."""
    return {
        "id": code,
        "fields": {"prompt": prompt, "text_a": first, "text_b": second},
        "metadata": {},
        "suggestions": {
            question(column): {"value": level, "score": None, "agent": agent}
            for column, level in levels.items()
            if level is not None
        },
        "responses": {},
        "vectors": {},
    }


def dataset_settings(rubric: Rubric, guidelines: str) -> dict[str, Any]:
    """Fields and questions of the dataset."""
    fields = [("prompt", "Prompt"), ("text_a", "Text A"), ("text_b", "Text B")]
    options = [{"value": level} for level in range(rubric.classes)]
    ratings = [
        {
            "name": question(f"{letter} {name}"),
            "title": f"Text {letter}: {name}",
            "required": True,
            "settings": {"type": "rating", "options": options},
        }
        for name in rubric.names
        for letter in ("A", "B")
    ]
    comment = {
        "name": "comment",
        "title": "Comment",
        "required": False,
        "settings": {"type": "text", "use_markdown": False},
    }
    return {
        "guidelines": guidelines,
        "fields": [
            {
                "name": name,
                "title": title,
                "required": name != "prompt",
                "settings": {"type": "text", "use_markdown": False},
            }
            for name, title in fields
        ],
        "questions": [*ratings, comment],
        "metadata": [],
        "vectors": [],
        "allow_extra_metadata": True,
    }
