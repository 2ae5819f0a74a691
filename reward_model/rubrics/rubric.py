"""A rubric is data: the scale, the dimensions with their level anchors and weights, the quality
focuses a good text is asked for and the degradations that make a text worse on purpose.

`load_rubric("financial_report")` reads one that ships; `load_rubric("my.toml")` reads yours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reward_model.records import UserError, digest, explain_os_error, is_there
from reward_model.records.files import Pathish, decode
from reward_model.records.settings import parse_settings, parse_toml

Words = str | dict[str, str]
"""One text for every language, or language code -> text."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def say(words: Words, language: str) -> str:
    """The text in `language`, else in English, else in the first language there is.

    >>> say({"en": "depth", "zh": "深度"}, "zh")
    '深度'
    """
    if isinstance(words, str):
        return words
    return words.get(language) or words.get("en") or next(iter(words.values()))


class Dimension(_Strict):
    """One thing that is judged, and one head of the model."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    """Key in records and results."""
    title: Words
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Share in the scalar reward, relative to the other dimensions."""
    description: Words = ""
    """What a judge is asked to look at."""
    anchors: tuple[Words, ...] = Field(min_length=2)
    """What a level means, worst first, spread evenly over the scale."""


class Focus(_Strict):
    """What the writer of a good text is asked to be best at."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    title: Words
    instruction: Words


class Degradation(_Strict):
    """An edit that makes a good text worse in known dimensions."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    title: Words
    targets: tuple[str, ...] = Field(min_length=1)
    """Dimensions it is meant to lower."""
    instruction: Words
    severities: tuple[Words, ...] = Field(min_length=1)
    """What severity 1, 2, ... asks for, mildest first."""
    length_ratio: tuple[float, float] = (0.5, 1.5)
    """Accepted length of the result relative to the original."""


class Rewrite(_Strict):
    """A neutral edit: it must not change any level."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    title: Words
    instruction: Words
    length_ratio: tuple[float, float] = (0.5, 2.0)


T = TypeVar("T", Dimension, Focus, Degradation, Rewrite)


class Rubric(_Strict):
    """A whole rubric; see docs/rubric.md for the file."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    title: Words = ""
    scale: int = Field(ge=1, le=99)
    """Highest level; levels are the integers 0..scale, so a head has `scale + 1` classes."""
    dimensions: tuple[Dimension, ...] = Field(min_length=1)
    focuses: tuple[Focus, ...] = ()
    degradations: tuple[Degradation, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, entries in (
            ("dimensions", self.dimensions),
            ("focuses", self.focuses),
            ("degradations", self.degradations),
            ("rewrites", self.rewrites),
        ):
            names = [entry.name for entry in entries]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} named twice: {', '.join(twice)}")
        known = set(self.names)
        for degradation in self.degradations:
            unknown = [t for t in degradation.targets if t not in known]
            if unknown:
                raise ValueError(
                    f"degradation {degradation.name} targets unknown dimension(s) "
                    f"{', '.join(unknown)}; dimensions are {', '.join(self.names)}"
                )
        if not sum(d.weight for d in self.dimensions) > 0:
            raise ValueError("weights add up to zero; give at least one dimension a weight")
        return self

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Dimension names, in the order of the heads."""
        return tuple(d.name for d in self.dimensions)

    @property
    def classes(self) -> int:
        """Number of levels, K."""
        return self.scale + 1

    @cached_property
    def weights(self) -> dict[str, float]:
        """Dimension -> weight; they sum to 1."""
        total = sum(d.weight for d in self.dimensions)
        return {d.name: d.weight / total for d in self.dimensions}

    @cached_property
    def digest(self) -> str:
        """Fingerprint of the content."""
        return digest(self.model_dump(mode="json"))

    @property
    def id(self) -> str:
        """`name@digest`, as records and models keep it."""
        return f"{self.name}@{self.digest}"

    def titles(self, language: str) -> dict[str, str]:
        """What people call its dimensions and degradations: name -> title."""
        found = {one.name: say(one.title, language) for one in self.degradations}
        return found | {one.name: say(one.title, language) for one in self.dimensions}

    def dimension(self, name: str) -> Dimension:
        """The dimension called `name`."""
        return _named(self.dimensions, name, "dimension")

    def degradation(self, name: str) -> Degradation:
        """The degradation called `name`, by its name or its title in any language."""
        return _named(self.degradations, name, "degradation")

    def focus(self, name: str) -> Focus:
        """The quality focus called `name`, by its name or its title in any language."""
        return _named(self.focuses, name, "quality focus")

    def rewrite(self, name: str) -> Rewrite:
        """The neutral rewrite called `name`, by its name or its title in any language."""
        return _named(self.rewrites, name, "rewrite")

    def anchors(self, dimension: str, language: str) -> list[tuple[int, str]]:
        """(level, meaning) from worst to best; five anchors on a 0-9 scale land on 0, 2, 4, 7, 9.

        >>> [level for level, _ in load_rubric("financial_report").anchors("depth", "en")]
        [0, 1, 2, 3, 4]
        """
        texts = self.dimension(dimension).anchors
        step = self.scale / (len(texts) - 1)
        return [(round(i * step), say(text, language)) for i, text in enumerate(texts)]

    def reward(self, levels: Mapping[str, float]) -> float:
        """Weighted mean level over the scale, in [0, 1].

        >>> load_rubric("financial_report").reward(
        ...     {"depth": 4.0, "professionalism": 4.0, "accuracy": 4.0})
        1.0
        """
        return sum(self.weights[n] * levels[n] for n in self.names) / self.scale

    def check_levels(
        self,
        levels: Mapping[str, int | None],
        *,
        where: str,
        path: Pathish | None = None,
        line: int | None = None,
    ) -> None:
        """Refuse levels that are not of this rubric.

        Raises:
            UserError: an unknown dimension, or a level outside 0..scale.
        """
        for name, level in levels.items():
            if name not in self.names:
                raise UserError(
                    f"unknown dimension {name!r} in {where}",
                    expected=f"the dimensions of rubric {self.name}: {', '.join(self.names)}",
                    mend="score with this rubric, or name the right one with --rubric",
                    path=path,
                    line=line,
                )
            if level is not None and not 0 <= level <= self.scale:
                raise UserError(
                    f"level {level} in {where}.{name}",
                    expected=f"an integer from 0 to {self.scale} or null",
                    path=path,
                    line=line,
                )


def _named(entries: Iterable[T], name: str, what: str) -> T:
    entries = tuple(entries)
    for entry in entries:
        titles = entry.title.values() if isinstance(entry.title, dict) else (entry.title,)
        if name == entry.name or name in titles:
            return entry
    raise UserError(
        f"unknown {what} {name!r}", expected=f"one of {', '.join(e.name for e in entries)}"
    )


def shipped_rubrics() -> list[str]:
    """Names that `load_rubric` knows without a file.

    >>> shipped_rubrics()
    ['constitution', 'education_bias', 'financial_report', 'helpsteer', 'ultrafeedback']
    """
    folder = files("reward_model.rubrics")
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def load_rubric(name_or_path: Pathish) -> Rubric:
    """Read a rubric that ships, by name, or any TOML file, by path.

    Raises:
        UserError: no such rubric, or every mistake in the file at once.
    """
    name = str(name_or_path)
    if name in shipped_rubrics():
        return parse_rubric((files("reward_model.rubrics") / f"{name}.toml").read_bytes(), name)
    path = Path(name_or_path)
    if not is_there(path) and "/" not in name and not name.endswith(".toml"):
        raise UserError(
            f"unknown rubric {name!r}",
            expected=f"one of {', '.join(shipped_rubrics())}, or the path of a TOML file",
        )
    try:
        return parse_rubric(path.read_bytes(), path)
    except OSError as error:
        raise explain_os_error(error, path) from None


def parse_rubric(content: bytes, path: Pathish) -> Rubric:
    """Parse the bytes of a rubric file; `path` is for error messages."""
    values = parse_toml(decode(content, path), path)
    return parse_settings(values, Rubric, "a rubric as docs/rubric.md describes", path=path)
