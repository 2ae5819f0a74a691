"""Headers and body fields of one's own, with what is secret in the environment only.

`headers_of(["X-Org: a", "X-Team-Key: $TEAM_KEY"])` is what is sent; what is kept and written is the
line as it was given, with the variable's name in it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from reward_model.records import UserError
from reward_model.records.errors import first_line

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET = re.compile(
    r"authori[sz]ation|cookie|secret|passw|credential|api[-_]?key|(?:^|[-_])(?:key|token)$", re.I
)
_SECRET_VALUE = re.compile(r"\bbearer\s+\S|\b(?:sk|ak)-\w{8}", re.I)
_OURS = {"content-length", "content-type", "host", "transfer-encoding", "connection"}
_OWN_OPTIONS = {
    "model": "--llm",
    "messages": "nothing of the kind",
    "input": "nothing of the kind",
    "stream": "nothing of the kind",
    "n": "--samples or more pairs",
    "temperature": "the option of the temperature",
    "seed": "--seed",
    "max_tokens": "--max-tokens",
    "max_completion_tokens": "--max-tokens",
    "response_format": "nothing of the kind",
}
"""Fields that a request has already, and what stands for them."""


def check_header(line: str) -> tuple[str, str]:
    """Name and value of a header, variables not yet filled in.

    Raises:
        UserError: it is none, one that the call itself sets, or a secret written out.

    >>> check_header("X-Org: a")
    ('X-Org', 'a')
    """
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not _NAME.fullmatch(name) or not value.isascii() or not value.isprintable():
        shown = f"header {name}" if colon and _NAME.fullmatch(name) else "a line that is no header"
        raise UserError(shown, expected="'Name: value' in one line of ASCII")
    if name.lower() in _OURS:
        raise UserError(f"header {name}", expected="one that the call does not set itself")
    _check_secret(name, value, f"header '{name}: $VARIABLE'")
    return name, value


def check_body(body: Mapping[str, Any]) -> None:
    """Fields that may be sent beside those that every request has.

    Raises:
        UserError: one that a request has already, or a secret written out.
    """
    for name in body:
        if name in _OWN_OPTIONS:
            raise UserError(f"field {name} in the body", expected=_OWN_OPTIONS[name])
    _check_fields(body)
    try:
        json.dumps(dict(body), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise UserError(f"a body that JSON cannot hold ({first_line(error)})") from None


def _check_fields(value: Any, name: str = "") -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_fields(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            _check_fields(inner, name)
    elif isinstance(value, str):
        _check_secret(name, value, f'"{name}": "$VARIABLE" in the body')


def _check_secret(name: str, value: str, form: str) -> None:
    if (_SECRET.search(name) and not _VARIABLE.search(value)) or _SECRET_VALUE.search(value):
        raise UserError(
            f"a secret written out in {name}",
            expected="the name of the environment variable that holds it",
            mend=f"write {form}",
        )


def headers_of(lines: Sequence[str]) -> dict[str, str]:
    """Headers as they are sent.

    Raises:
        UserError: a line that is none, or a variable that is not in the environment.
    """
    return {name: _filled(value, f"header {name}") for name, value in map(check_header, lines)}


def secrets_of(lines: Sequence[str], body: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """What the variables in headers and body stand for, to be kept out of messages."""
    names = [found[1] or found[2] for line in lines for found in _VARIABLE.finditer(line)]
    known = (os.environ.get(name, "").strip() for name in [*names, *_variables(body)])
    return tuple(value for value in known if value)


def body_of(value: Any) -> Any:
    """Body fields as they are sent: a text that is `$NAME` alone is that variable.

    Raises:
        UserError: a variable that is not in the environment.
    """
    if isinstance(value, Mapping):
        return {key: body_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [body_of(inner) for inner in value]
    if isinstance(value, str) and _VARIABLE.fullmatch(value):
        return _filled(value, "the body")
    return value


def joined(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """A body with further fields; tables that both have are joined.

    >>> joined({"a": {"b": 1}}, {"a": {"c": 2}, "top_k": 20})
    {'a': {'b': 1, 'c': 2}, 'top_k': 20}
    """
    out = dict(body)
    for name, value in body_of(extra).items():
        before = out.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            value = {**before, **value}
        out[name] = value
    return out


def has_secret(lines: Sequence[str], body: Mapping[str, Any]) -> bool:
    """Whether a variable of the environment goes along."""
    return bool(secrets_of(lines, body))


def _variables(value: Any) -> list[str]:
    """Names of the variables that body fields stand for."""
    if isinstance(value, Mapping):
        return [name for inner in value.values() for name in _variables(inner)]
    if isinstance(value, list):
        return [name for inner in value for name in _variables(inner)]
    found = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
    return [found[1] or found[2]] if found else []


def _filled(text: str, where: str) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        known = os.environ.get(name, "").strip()
        if not known or not known.isascii() or not known.isprintable():
            raise UserError(
                f"nothing that can be sent in the environment variable {name}",
                expected=f"what {where} says it holds",
            )
        return known

    return _VARIABLE.sub(value, text)
