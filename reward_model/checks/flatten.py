"""HTML out of the way: rewritten, character for character, into the shape of Markdown.

Every character keeps its place, so offsets in the flat text are offsets in the original.
"""

from __future__ import annotations

import re

from reward_model.checks.numbers import fold

_TAG = re.compile(
    r"</?([A-Za-z][A-Za-z0-9]*)\b[^<>]*>|"
    r"</(?=[<\s])",
    re.S | re.I,
)
_TABLE_SPAN = re.compile(r"<table\b.*?(?:</table\s*>|(?=\n[ \t]*#)|\Z)", re.S | re.I)
_BLOCK = frozenset(
    [
        "p",
        "div",
        "li",
        "ul",
        "ol",
        "br",
        "section",
        "article",
        "tr",
        "table",
        "thead",
        "tbody",
        "tfoot",
        "hr",
        "pre",
        "blockquote",
        "dd",
        "dt",
        "dl",
        "header",
        "footer",
        "figure",
    ]
)
_SPAN_ATTR = re.compile(r"(col|row)span\s*=\s*[\"']?(\d+)", re.I)
COL, ROW, TABLE_END = "\x01", "\x02", "\x03"
"""Marks left where a cell spans columns or rows, and where a table ends."""
_ENTITY = re.compile(r"&(?:nbsp|amp|lt|gt|quot|#\d+|#x[0-9a-f]+);", re.I)


def _same_length(text: str, width: int) -> str:
    return text[:width].ljust(width)


def _retag(match: re.Match[str]) -> str:
    name = (match[1] or "").lower()
    width = len(match[0])
    closing = match[0].startswith("</")
    if name in {"td", "th"}:
        if closing:
            return " " * width
        spans = {k.lower(): int(v) for k, v in _SPAN_ATTR.findall(match[0])}
        # The marks must fit into the tag they replace, so that all offsets stay; a cell that spans
        # so much is layout.
        extra = COL * min(spans.get("col", 1) - 1, 8) + ROW * min(spans.get("row", 1) - 1, 30)
        return _same_length("|" + extra, width)
    if name == "table" and closing:
        return _same_length("\n" + TABLE_END, width)
    if name == "tr":
        return _same_length("|\n" if closing else "\n", width)
    if len(name) == 2 and name[0] == "h" and name[1].isdigit():
        return (
            _same_length("\n", width)
            if closing
            else _same_length("\n" + "#" * min(int(name[1]), 2) + " ", width)
        )
    return _same_length("\n", width) if name in _BLOCK else " " * width


_UNSEEN = (("<!--", "-->"), ("<style", "</style"), ("<script", "</script"))


def _without_unseen(text: str) -> str:
    """Comments, styles and scripts blanked out; one that never ends is left as it is."""
    low = text.lower()
    for opening, closing in _UNSEEN:
        pieces, last = [], 0
        start = low.find(opening)
        while start >= 0:
            end = low.find(closing, start)
            if end < 0:
                break
            stop = low.find(">", end) + 1 or len(text)
            pieces += [text[last:start], re.sub(r"[^\n]", " ", text[start:stop])]
            last = stop
            start = low.find(opening, stop)
        if last:
            text = "".join((*pieces, text[last:]))
            low = text.lower()
    return text


def flatten(text: str) -> str:
    """The text with HTML gone and full-width digits folded, every character still in its place.

    >>> flatten("<p>营收<b>５</b>亿</p>").strip().replace(" ", "")
    '营收5亿'
    """
    if "<" in text:
        pieces, last = [], 0
        for span in _TABLE_SPAN.finditer(text):
            pieces.append(text[last : span.start()])
            # Line breaks inside a row are layout; only </tr> ends a row.
            body = re.sub(r"[\r\n|]", " ", span[0])
            pieces.append(body)
            last = span.end()
        pieces.append(text[last:])
        text = _TAG.sub(_retag, _without_unseen("".join(pieces)))
    if "&" in text:
        text = _ENTITY.sub(
            lambda m: _same_length("&" if m[0].lower() == "&amp;" else " ", len(m[0])), text
        )
    return fold(text)
