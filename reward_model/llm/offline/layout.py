"""A report as lines: headings, bullets, tables, paragraphs of sentences.

`parse` takes any text apart and `render` puts it together again; edits work on the lines between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

_MARK = re.compile(
    r"(?:\s*(?:[-*•]|\d+[.)、]|>)\s+)?"
    r"(?:\*\*[^*\n]{1,40}\*\*\s*[：:]\s*|\*\*[^*\n]{1,40}[：:.]\*\*\s*)?"
)
_HEADING = re.compile(
    r"\s*(?:#{1,6}\s|[一二三四五六七八九十]+、|（[一二三四五六七八九十]+）|[IVX]+\.\s|\*\*[^*]+\*\*\s*$)"
)
_SPLIT = {"zh": re.compile(r"(?<=[。！？])"), "en": re.compile(r"(?<=[.!?])\s+(?=[A-Z])")}


@dataclass(frozen=True)
class Line:
    """One line of a report."""

    kind: Literal["heading", "text", "table", "blank"]
    mark: str = ""
    """What stands before the first sentence: a bullet, a bold lead."""
    raw: str = ""
    """The whole line, for everything but text."""
    sentences: tuple[str, ...] = field(default=())
    area: str = ""
    """The area of analysis its heading or lead names."""

    def with_sentences(self, sentences: list[str]) -> Line:
        """The same line saying something else."""
        return replace(self, sentences=tuple(sentences))


def parse(text: str, language: str, areas: dict[str, str]) -> list[Line]:
    """Take a report apart. `areas`: heading words -> area.

    >>> [line.kind for line in parse("# T\\n\\n- A rose. B fell.", "en", {})]
    ['heading', 'blank', 'text']
    """
    lines, area = [], ""
    for raw in text.split("\n"):
        if not raw.strip():
            lines.append(Line("blank", area=area))
        elif raw.lstrip().startswith("|"):
            lines.append(Line("table", raw=raw, area=area))
        elif _HEADING.match(raw) and len(raw) < 90 and not raw.rstrip().endswith(("。", ".")):
            area = area_of(raw, areas)
            lines.append(Line("heading", raw=raw, area=area))
        else:
            match = _MARK.match(raw)
            mark = match.group() if match else ""
            area = area_of(mark, areas) or area
            found = [s for s in _SPLIT[language].split(raw[len(mark) :]) if s.strip()]
            lines.append(Line("text", mark, "", tuple(found), area))
    return lines


def area_of(heading: str, areas: dict[str, str]) -> str:
    """The area whose heading words a line holds, longest words first."""
    folded = heading.casefold()
    found = [words for words in areas if words in folded]
    return areas[max(found, key=len)] if found else ""


def render(lines: list[Line], language: str) -> str:
    """Put a report together."""
    gap = "" if language == "zh" else " "
    out: list[str] = []
    for line in lines:
        if line.kind == "blank":
            if out and out[-1]:
                out.append("")
        elif line.kind == "text":
            if line.sentences:
                out.append(line.mark + gap.join(line.sentences))
        else:
            out.append(line.raw)
    return "\n".join(out).strip()
