"""Four neutral rewrites of a report: other words, another layout, longer, shorter.

`Rewriter(...).rewrite(text, kind)` leaves every fact, figure, cause and term as it is.
"""

from __future__ import annotations

from reward_model.llm.base import RefusedError
from reward_model.llm.offline.editor import REWORD, Editor
from reward_model.llm.offline.layout import Line, parse, render
from reward_model.llm.offline.phrases import Found


class Rewriter(Editor):
    """Rewrites reports without changing their quality."""

    def rewrite(self, text: str, kind: str) -> str:
        """The text with one neutral rewrite."""
        edits = {
            "paraphrase": self.paraphrase,
            "reformat": self.reformat,
            "lengthen": self.lengthen,
            "shorten": self.shorten,
        }
        if kind not in edits:
            raise RefusedError(f"the embedded writer knows no rewrite {kind!r}")
        lines = edits[kind](parse(text, self.language, self.said.areas))
        if kind == "paraphrase":
            lines = self.fit(lines, len(text))
        result = render(lines, self.language)
        if result == text:  # Nothing of its own was recognised as such: say all of it again.
            result = render(self.each(lines, self._again), self.language)
        return result

    def _again(self, sentence: str, found: Found | None, _: Line) -> list[str]:
        return [self.reword(sentence, found, 1.0)]

    def paraphrase(self, lines: list[Line]) -> list[Line]:
        """Other words, nothing else."""
        share = self.rng.choice([REWORD, REWORD, 0.9])
        return self.each(lines, lambda s, f, _: [self.reword(s, f, share)])

    def reformat(self, lines: list[Line]) -> list[Line]:
        """Bullets to paragraphs or the other way, other heading marks; the words stay."""
        bullets = any(line.mark.startswith("- ") for line in lines)
        out: list[Line] = []
        for line in lines:
            if line.kind == "heading" and line.raw.startswith("## "):
                line = Line("heading", raw=f"**{line.raw[3:].strip()}**", area=line.area)
            elif line.kind == "heading" and line.raw.startswith("**"):
                line = Line("heading", raw=f"## {line.raw.strip().strip('*')}", area=line.area)
            elif line.kind == "heading" and not line.raw.startswith("#"):
                line = Line("heading", raw=f"**{line.raw.strip()}**", area=line.area)
            elif line.kind == "text" and line.mark == "- ":
                line = Line("text", "", "", line.sentences, line.area)
                if out and out[-1].kind == "text" and not out[-1].mark:
                    line = line.with_sentences([*out.pop().sentences, *line.sentences])
            elif line.kind == "text" and not bullets and not line.mark and len(line.sentences) > 2:
                out += [Line("text", "- ", "", (s,), line.area) for s in line.sentences]
                continue
            out.append(line)
        return out

    def lengthen(self, lines: list[Line]) -> list[Line]:
        """More words, nothing more said."""
        out = []
        for line in self.each(lines, lambda *_: None):
            if line.kind == "text" and line.sentences and self.rng.random() < 0.7:
                extra = self.said.say("courtesy.text", self.rng)
                out.append(line.with_sentences([*line.sentences, extra]))
            else:
                out.append(line)
        return out

    def shorten(self, lines: list[Line]) -> list[Line]:
        """Fewer words: connecting words, courtesies and repeated courses go."""

        def change(sentence: str, found: Found | None, _: Line) -> list[str] | None:
            if found is None:
                return None
            if found.role in {"courtesy", "flat"} or found.slot == "summary.open":
                return []
            ways = [self.said.again(found, self.rng) for _ in range(4)]
            return [self.rebold(sentence, min([sentence, *ways], key=len))]

        return self.each(lines, change)
