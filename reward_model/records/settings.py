"""TOML files that people write: settings, rubrics, price tables. All mistakes in one sentence."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from reward_model.records.errors import UserError
from reward_model.records.files import Pathish, read_text

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    M = TypeVar("M", bound=BaseModel)


def read_settings(path: Pathish, model: type[M], what: str) -> M:
    """A TOML file as a model of pydantic's.

    Args:
        what: the file should be, for messages: `"a rubric as docs/rubric.md describes"`.

    Raises:
        UserError: the file cannot be read, is no TOML, or every mistake in it at once.
    """
    return parse_settings(read_toml(path), model, what, path=path)


def read_toml(path: Pathish) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        UserError: the file cannot be read, is not UTF-8 or no TOML.
    """
    return parse_toml(read_text(path), path)


def parse_toml(text: str, path: Pathish | None = None) -> dict[str, Any]:
    """What the text of a TOML file says; `path` is for messages.

    Raises:
        UserError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"broken TOML ({error})", expected="TOML 1.0", path=path) from None


def parse_settings(
    values: Mapping[str, Any],
    model: type[M],
    what: str,
    *,
    path: Pathish | None = None,
    flags: Collection[str] = (),
) -> M:
    """What a file says, flags over it where there are any, as a model of pydantic's.

    Args:
        what: it should be, for messages.
        path: the file, where there is one.
        flags: names whose values are no word of the file: it is not blamed for them.

    Raises:
        UserError: every mistake at once.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        mistakes = _mistakes(error, tuple(model.model_fields))
        if all(one["loc"] and one["loc"][0] in flags for one in error.errors(include_url=False)):
            path = None
    several = "" if len(mistakes) == 1 else "s"
    raise UserError(
        f"{len(mistakes)} mistake{several}: {'; '.join(mistakes)}", expected=what, path=path
    )


def _mistakes(error: ValidationError, known: tuple[str, ...]) -> list[str]:
    words = []
    for one in error.errors(include_url=False):
        where = ".".join(map(str, one["loc"]))
        said = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, known, n=1)
            words.append(f"unknown key {where}" + (f" (do you mean {near[0]}?)" if near else ""))
        elif not where:
            words.append(said)
        elif one["type"] in {"missing", "value_error"}:
            words.append(f"{where}: {_lower(said)}")
        else:
            found = repr(one["input"])
            found = found if len(found) <= 60 else found[:57] + "..."
            words.append(f"{where}: {found} ({_lower(said)})")
    return words


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
