"""What a person writes in TOML: metrics with limits to watch, and an experiment."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from reward_model.records import UserError
from reward_model.records.settings import read_settings
from reward_model.traffic.arm import check_shares
from reward_model.traffic.values import ROWS, Column

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Amount(_Settings):
    """A change: so much, or so much of what it is compared with."""

    number: float = Field(ge=0)
    relative: bool = False

    def of(self, value: float) -> float:
        """The change as a number.

        >>> Amount(number=0.1, relative=True).of(50.0), Amount(number=0.1).of(50.0)
        (5.0, 0.1)
        """
        return self.number * abs(value) if self.relative else self.number

    def __str__(self) -> str:
        return f"{100 * self.number:g}%" if self.relative else f"{self.number:g}"


def _amount(value: Any) -> Any:
    """`0.05`, or `"5%"` of what it is compared with."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"number": value}
    if isinstance(value, str) and (found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value)):
        return {"number": float(found[1]) / 100, "relative": True}
    if isinstance(value, Amount):
        return value
    raise ValueError('a number such as 0.05, or a share such as "5%", is needed')


Change = Annotated[Amount, BeforeValidator(_amount)]


class Metric(_Settings):
    """One number of the rows of a log."""

    of: str
    """A dotted key of a row, `refused` (by a word list), or `rows`."""
    how: Literal["share", "mean", "p50", "p95", "per_second"] = Field(alias="is")
    name: str = ""
    above: float | None = None
    """Of a share: a number counts from above it."""
    among: dict[str, str | int | float | bool] = {}
    """Only rows where these dotted keys have these values."""

    @model_validator(mode="after")
    def _fits(self) -> Metric:
        if self.above is not None and self.how != "share":
            raise ValueError('above goes with is = "share"')
        return self

    @property
    def title(self) -> str:
        """Its name, or what it is."""
        if self.name:
            return self.name
        words = self.of if self.above is None else f"{self.of} > {self.above:g}"
        return words if self.of == "refused" else f"{words} {self.how}"

    @property
    def column(self) -> Column:
        """What has to be read of every row."""
        counted = self.how == "per_second"
        return Column(
            ROWS if counted else self.of,
            counted or self.how == "share",
            self.above,
            tuple(sorted(self.among.items())),
        )


class Watched(Metric):
    """A metric with limits; an alert needs its whole interval beyond one."""

    min: float | None = None
    max: float | None = None
    drop: Change | None = None
    """Against the baseline log."""
    rise: Change | None = None
    min_rows: int | None = Field(None, ge=1)


class MonitorSettings(_Settings):
    """A file of `traffic monitor --config`."""

    window: str | None = None
    """Judge the last such time: `30m`, `24h`, `7d`."""
    min_rows: int = Field(100, ge=1)
    metric: list[Watched] = Field(min_length=1)

    @field_validator("window")
    @classmethod
    def _is_time(cls, value: str | None) -> str | None:
        if value is not None:
            seconds(value)
        return value

    @model_validator(mode="after")
    def _names_differ(self) -> MonitorSettings:
        _differ([metric.title for metric in self.metric])
        return self


class Outcome(Metric):
    """A metric of an experiment and which way is good."""

    better: Literal["higher", "lower"] = "higher"


class Guardrail(Outcome):
    """An outcome that must not get worse by more than a margin."""

    margin: Change


Moment = Annotated[datetime, BeforeValidator(lambda value: _moment(value))]


class Experiment(_Settings):
    """A file of `traffic ab --experiment`."""

    name: str = Field(min_length=1)
    arms: dict[str, float]
    """Share of each arm; the first is the control."""
    start: Moment | None = Field(None, alias="from")
    until: Moment
    primary: Outcome
    secondary: list[Outcome] = []
    guardrail: list[Guardrail] = []
    detect: Change | None = None
    """Of the primary outcome: the least change worth seeing, for --plan."""
    power: float = Field(0.8, gt=0.5, lt=1)

    @field_validator("arms")
    @classmethod
    def _is_division(cls, value: dict[str, float]) -> dict[str, float]:
        try:
            check_shares(value)
        except UserError as error:
            raise ValueError(str(error)) from None
        if not all(value.values()):
            raise ValueError("an arm with share 0 has no users to compare")
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Experiment:
        if self.start is not None and self.start >= self.until:
            raise ValueError("from is not before until")
        _differ([one.title for one in self.outcomes])
        return self

    @property
    def outcomes(self) -> list[Outcome]:
        """All of them, the primary first."""
        return [self.primary, *self.secondary, *self.guardrail]


def read_monitor(path: Path) -> MonitorSettings:
    """Read the metrics to watch.

    Raises:
        UserError: every mistake at once.
    """
    return read_settings(path, MonitorSettings, "metrics as docs/traffic.md describes them")


def read_experiment(path: Path) -> Experiment:
    """Read an experiment.

    Raises:
        UserError: every mistake at once.
    """
    return read_settings(path, Experiment, "an experiment as docs/traffic.md describes it")


def seconds(words: str) -> float:
    """Length of a time in words.

    >>> seconds("24h"), seconds("1.5 d")
    (86400.0, 129600.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhdw])\s*", words)
    if not found or not float(found[1]):
        raise ValueError("a time such as 30m, 24h, 7d or 2w is needed")
    return float(found[1]) * _UNITS[found[2]]


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    raise ValueError("a moment such as 2026-11-15T00:00:00Z is needed")


def _differ(titles: list[str]) -> None:
    for title in titles:
        if titles.count(title) > 1:
            raise ValueError(f"two metrics are called {title!r}: give one a name")
