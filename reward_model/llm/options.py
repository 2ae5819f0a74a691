"""Settings of every model of a run: headers and body fields of one's own, thinking, effort."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from reward_model.llm.extras import check_body, check_header
from reward_model.records import UserError


class ModelOptions(BaseModel):
    """What goes along with every call, whatever is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    header: tuple[str, ...] = ()
    """`Name: value`; `$VARIABLE` in a value is filled in when it is sent, and nowhere else."""
    body: dict[str, Any] = {}
    """Fields of the body beside those that every request has."""
    thinking: Literal["on", "off"] | None = None
    """None: off where a model has a switch for it, else as the model is."""
    reasoning_effort: Literal["low", "medium", "high"] | None = None
    """How long to think; it turns thinking on."""

    @field_validator("header", mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        if isinstance(value, dict):
            return tuple(f"{name}: {one}" for name, one in value.items())
        return value

    @field_validator("header")
    @classmethod
    def _headers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for line in value:
            _told(check_header, line)
        return value

    @field_validator("body", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError('no JSON object such as {"top_k": 20}') from None

    @field_validator("body")
    @classmethod
    def _fields(cls, value: dict[str, Any]) -> dict[str, Any]:
        _told(check_body, value)
        return value

    @field_validator("thinking", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _thinks(self) -> Self:
        if self.thinking == "off" and self.reasoning_effort:
            raise ValueError("reasoning_effort with thinking off; leave one of them out")
        return self

    def check_together(self, llm: Sequence[str], base_url: str | None) -> None:
        """Refuse what would do nothing beside the rest: an address nobody has, a wait for nothing.

        Raises:
            ValueError: naming it.
        """
        if getattr(self, "wait", False) and not getattr(self, "batch", False):
            raise ValueError("wait without batch; add --batch, or leave --wait out")
        if base_url is not None and all(name == "offline" for name in llm):
            raise ValueError("base_url without a model behind it; name it with --llm openai:MODEL")

    def asked(self) -> dict[str, Any]:
        """Those fields of a `Request` that say so."""
        effort = "none" if self.thinking == "off" else self.reasoning_effort
        on = self.thinking == "on" or self.reasoning_effort is not None
        return {"thinking": on, "effort": effort, "extra": self.body}


def _told(check: Any, value: Any) -> None:
    try:
        check(value)
    except UserError as error:
        raise ValueError(str(error)) from None
