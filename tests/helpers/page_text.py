"""What a person reads on a page, for tests of its language and of its parts."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_DATA = {"td", "code", "pre", "script", "style", "textarea", "tspan"}
_EMPTY = {"meta", "input", "br", "use", "path", "rect", "line", "link"}
_OURS = re.compile(r"\b[A-Za-z]{3,}\b")
_NAMES = re.compile(r"\S*[\d_./@:<>]\S*|\b[A-Z]{2,}\b|--[\w-]+|“[^”]*”|`[^`]*`|\btokens?\b")


class _Text(HTMLParser):
    """Text outside of cells, code and quoted responses, with its element; and labels."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.found: list[tuple[str, str]] = []
        self.language: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "html":
            self.language = given.get("lang")
        for name in ("aria-label", "title", "placeholder"):
            if text := given.get(name):
                self.found.append((f"{tag} {name}", text))
        if tag not in _EMPTY:
            quoted = tag in _DATA or given.get("class") == "text" or given.get("lang") == "en"
            self.open.append((tag, quoted))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Drawn, not read."""

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open and not any(quoted for _, quoted in self.open):
            self.found.append((self.open[-1][0], " ".join(data.split())))


def language_of(page: str) -> str | None:
    """`lang` of the page."""
    return _Text(page).language


def english_left(page: str, *allowed: str) -> list[tuple[str, str]]:
    """(element, text) in which English words stand: headings, captions, sentences, table heads.

    `allowed`: names of models, files and people's data; numbers, flags, file names, acronyms and
    quotations are names anyway.
    """
    found = []
    for element, text in _Text(page).found:
        ours = text
        for name in sorted(allowed, key=len, reverse=True):
            ours = ours.replace(name, "")
        if _OURS.search(_NAMES.sub("", ours)):
            found.append((element, text))
    return found
