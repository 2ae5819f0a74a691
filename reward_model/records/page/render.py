"""Fill a page template: everything escaped, every script and style allowed by its own hash.

The content security policy lets nothing run that was not shipped with the package, so a report
quoted in a page stays text even if an escape were missed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape, unescape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from reward_model.records.page.phrases import BASE, Phrases

if TYPE_CHECKING:
    from jinja2 import Environment

_SAID = re.compile(r'\bsay\("((?:[^"\\]|\\.)*)"')
"""What a script says: `say("English", { name: value })`, as templates and code do."""

_COMMAND = re.compile(r"`([^`]+)`")
_FLAG = re.compile(r"(?<![\w>`=-])(--[a-z][\w-]*)(?![^<]*</code>)")


def render(
    package: str,
    name: str,
    /,
    *,
    say: Phrases | None = None,
    data: Any = None,
    connect: bool = False,
    parts: tuple[str, ...] = (),
    within: Sequence[str] = (),
    **context: Any,
) -> str:
    """The page `package/templates/NAME.html.j2` filled with `context`.

    `say`: the language of the page, from `phrases`; English if not given.
    `NAME.css` and `NAME.js` beside the template come after the shared ones. `data` (any JSON value)
    is put in the page for the script, which reads it with `pageData()`. The template gets the
    filters `number` (`{{ x|number(2) }}`, a dash for None), `percent`, `svg` (a `Plot`) and `code`
    (a sentence whose `commands` and --flags are set as code).
    `parts` are scripts and styles of `records.page` that not all pages need, such as `passages`.
    `within`: whole pages that this one shows in frames, whose own scripts and styles it lets run.
    `connect` lets the script ask the server that the page came from, and no other.
    """
    assets = [*((BASE, part) for part in ("base", *parts)), (package, name)]
    style, script = (
        "\n".join(filter(None, (_asset(where, f"{what}.{kind}") for where, what in assets)))
        for kind in ("css", "js")
    )
    say = say or Phrases()
    said = {english: say(english) for english in dict.fromkeys(_SAID.findall(script))}
    return (
        _environment(package)
        .get_template(f"{name}.html.j2")
        .render(
            **context,
            say=say,
            page_words=_Safe(json_island(said)) if said and say.language != "en" else None,
            page_style=_Safe(style),
            page_script=_Safe(script),
            page_policy=_policy(style, script, connect, within),
            page_data=None if data is None else _Safe(json_island(data)),
        )
    )


def json_island(value: Any) -> str:
    r"""JSON that can stand inside a <script> element whatever texts it holds.

    >>> json_island("</script><!-- &")
    '"\\u003c/script\\u003e\\u003c!-- \\u0026"'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


class _Safe(str):
    """Text of ours that the template must not escape."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def _policy(style: str, script: str, connect: bool, within: Sequence[str]) -> str:
    def allow(text: str, kind: str) -> str:
        digest = hashlib.sha256(text.encode()).digest()
        hashes = [f"'sha256-{base64.b64encode(digest).decode()}'"]
        for page in within:  # a frame obeys the policy of the page around it beside its own
            head = unescape(page[: page.find("<title>")])
            hashes += re.findall(r"'sha256-[^']+'", head.partition(f"{kind} ")[2].partition(";")[0])
        return " ".join(dict.fromkeys(hashes))

    return (
        f"default-src 'none'; script-src {allow(script, 'script-src')}; "
        f"style-src {allow(style, 'style-src')}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
        + ("; connect-src 'self'" if connect else "")
    )


def _asset(package: str, name: str) -> str:
    file = files(package) / "templates" / name
    return file.read_text("utf-8").strip() if file.is_file() else ""


@lru_cache
def _environment(package: str) -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    from reward_model.records.page.plots import Plot

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(BASE)]),
    )

    def svg(drawing: Plot) -> _Safe:
        return _Safe(drawing.svg)

    def apply(text: str, say: Phrases) -> str:
        return say(text)

    environment.filters |= {
        "number": _number,
        "percent": _percent,
        "code": _code,
        "svg": svg,
        "apply": apply,
    }
    return environment


def _code(text: str) -> _Safe:
    """A sentence with its `quoted commands` and --flags set as code."""
    said = _COMMAND.sub(r"<code>\1</code>", str(escape(text, quote=False)))
    return _Safe(_FLAG.sub(r'<code class="flag">\1</code>', said))


def _number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def _percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}%"
