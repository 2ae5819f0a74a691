"""Five ways to make a report worse, at four severities each: edits of the text that is given.

`Degrader(...).degrade(text, kind, severity)`; kinds are those of rubrics/financial_report.toml.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from reward_model.checks import find_item
from reward_model.llm.base import RefusedError
from reward_model.llm.offline.blur import blur_number, perturb, vague_slot
from reward_model.llm.offline.editor import Editor
from reward_model.llm.offline.layout import Line, parse, render
from reward_model.llm.offline.phrases import Found

BLURRED = {1: 0.2, 2: 0.4, 3: 0.75, 4: 1.0}
"""Share of figures that a severity of `vague_precision` blurs."""
WRONG = {2: 0.2, 3: 0.4, 4: 0.85}
"""Share of figures that a severity of `simplified_calculation` makes wrong; 1 is one figure."""
FIGURE = re.compile(r"(?<![\d.,A-Za-z])\d[\d,]*(?:\.\d+)?(?![\d年]|\.\d|-)")
_AGAIN = {"figure", "trend", "cause1", "definition", "formula", "insight"}
_SHALLOW = {
    1: {"cause3", "forward"},
    2: {"cause3", "forward", "counter", "sensitivity"},
    3: {"cause1", "cause2", "cause3", "forward", "counter", "sensitivity"},
    4: {"cause1", "cause2", "cause3", "forward", "counter", "sensitivity", "opinion"},
}
_GENERIC = {
    1: {"benchmark", "insight"},
    2: {"benchmark", "insight", "definition"},
    3: {"benchmark", "definition", "insight", "opinion", "risk"},
    4: {"benchmark", "definition", "insight", "opinion", "risk"},
}


class Degrader(Editor):
    """Makes reports worse in known dimensions."""

    def degrade(self, text: str, kind: str, severity: int) -> str:
        """The text with one degradation."""
        edits: dict[str, Callable[[list[Line], int], list[Line]]] = {
            "shallow_depth": self.shallow,
            "simplified_calculation": self.miscalculate,
            "generic_wording": self.generic,
            "vague_precision": self.blur,
            "one_sided_coverage": self.one_sided,
        }
        if kind not in edits:
            raise RefusedError(f"the embedded writer knows no degradation {kind!r}")
        lines = parse(text, self.language, self.said.areas)
        lines = edits[kind](lines, min(max(severity, 1), 4))
        return render(self.fit(lines, len(text)), self.language)

    def shallow(self, lines: list[Line], severity: int) -> list[Line]:
        """Fewer and fewer causes; what happened is stated instead."""
        gone = set(_SHALLOW[severity])
        roles = [f.role for line in lines for s in line.sentences if (f := self.said.recognise(s))]
        if severity == 1 and roles.count("cause3") < 2:
            gone.add("cause2")  # the deepest layer there is
        halves = [True, False] * 200
        self.rng.shuffle(halves)

        def change(sentence: str, found: Found | None, line: Line) -> list[str] | None:
            role = found.role if found else self.guess(sentence)
            if severity == 2 and role in {"cause1", "cause2"} and halves.pop():
                return [self.flat(sentence, found, line)]
            if role in gone:
                return [self.flat(sentence, found, line)]
            if severity == 4 and found is not None and role in {"figure", "trend"}:
                return [self.listing(sentence, found, line)]
            return None

        return self.each(lines, change)

    def guess(self, sentence: str) -> str:
        """The role of a sentence from elsewhere, by the words that give causes away."""
        folded = sentence.casefold()
        return "cause1" if any(w in folded for w in self.said.words["cause_markers"]) else ""

    def listing(self, sentence: str, found: Found, line: Line) -> str:
        """A figure without its direction."""
        values = found.values
        if found.slot == "trend.words":
            return self.flat(sentence, found, line)
        if "v3" in values:
            return self.said.say("figure.list", self.rng, **values)
        item = find_item(values.get("item", ""))
        ways: list[str | None] = []
        if item is not None and self.analysis.known(item.key):
            ways = [self.analysis.pair(item.key, self.rng) for _ in range(3)]
        if "y" in values and "v" in values:
            ways.append(self.said.say("figure.plain", self.rng, **values))
        return self.fitting(sentence, ways) if any(ways) else sentence

    def miscalculate(self, lines: list[Line], severity: int) -> list[Line]:
        """Wrong figures in place, the words around them unchanged."""
        lines = self.each(lines, lambda *_: None)
        spots = [
            (n, k, m.span())
            for n, line in enumerate(lines)
            for k, sentence in enumerate(line.sentences)
            if line.kind == "text" and self.checkable(sentence)
            for m in FIGURE.finditer(sentence)
            if len(m.group()) > 1 and not _is_year(m.group())
        ]
        count = 1 if severity == 1 else max(2, round(len(spots) * WRONG[severity]))
        if severity == 1:  # a stated figure, so that it can be seen to be wrong
            spots = [
                s for s in spots if self.role(lines[s[0]].sentences[s[1]]) == "figure"
            ] or spots
        chosen = self.rng.sample(spots, min(count, len(spots)))
        for n, k, (start, end) in sorted(chosen, reverse=True):
            said = list(lines[n].sentences)
            wrong = perturb(said[k][start:end], self.rng)
            said[k] = said[k][:start] + wrong + said[k][end:]
            lines[n] = lines[n].with_sentences(said)
        if severity >= 3:
            lines = self.cells(lines, WRONG[severity], lambda cell: FIGURE.sub(
                lambda m: perturb(m.group(), self.rng), cell))  # fmt: skip
        return lines

    def role(self, sentence: str) -> str:
        """What a sentence does; empty for one from elsewhere."""
        found = self.said.recognise(sentence)
        return found.role if found is not None else ""

    def checkable(self, sentence: str) -> bool:
        """Whether the figures of a sentence follow from the statements."""
        return self.role(sentence) not in {"benchmark", "definition", "sensitivity"}

    def cells(self, lines: list[Line], share: float, change: Callable[[str], str]) -> list[Line]:
        """Change some of the figures in the tables of a report."""
        out = []
        for line in lines:
            cells = line.raw.split("|")
            if line.kind == "table" and any(ch.isdigit() for c in cells[2:3] for ch in c):
                head = any(_is_year(d) for d in re.findall(r"\d+", cells[2]))
                if not head:
                    cells[2:-1] = [
                        change(c) if self.rng.random() < share else c for c in cells[2:-1]
                    ]
                line = Line("table", raw="|".join(cells), area=line.area)
            out.append(line)
        return out

    def generic(self, lines: list[Line], severity: int) -> list[Line]:
        """Benchmarks, definitions and terms of the trade give way to words for any company."""
        gone = _GENERIC[severity]
        lay = severity == 4

        def change(sentence: str, found: Found | None, line: Line) -> list[str] | None:
            if found is None:
                return None
            if found.role in gone:
                name = f"layman.{found.role}" if lay else f"generic.{found.role}"
                pos = found.values.get("pos", "")
                ways = [self.said.say(name, self.rng, pos=pos) for _ in range(4)]
                return [self.fitting(sentence, ways)]
            plain = {"driver", "root", "cond"} & set(found.values)
            if severity >= 3 and plain:
                values = dict(found.values)
                for name in plain:
                    values[name] = self.rng.choice(self.said.slots[f"generic.{name}"])
                again = self.said.say(found.slot, self.rng, **values)
                return [self.rebold(sentence, self.said.join(found.lead, again))]
            return None

        lines = self.each(lines, change)
        if severity < 2:
            return lines
        terms = list(self.said.fields["terms"].items())
        if severity == 2:
            terms = terms[::2] if self.rng.random() < 0.5 else terms[1::2]
        swaps = {term: words[1 if lay else 0] for term, words in terms}
        return [
            line.with_sentences([self.swap(s, swaps) for s in line.sentences])
            if line.kind == "text"
            else line
            for line in lines
        ]

    def swap(self, sentence: str, swaps: dict[str, str]) -> str:
        """Replace terms, longest first."""
        pattern = "|".join(re.escape(t) for t in sorted(swaps, key=len, reverse=True))
        flags = re.I if self.language == "en" else 0
        edge = r"\b" if self.language == "en" else ""
        folded = {term.casefold(): plain for term, plain in swaps.items()}

        def plain(match: re.Match[str]) -> str:
            words = folded[match.group().casefold()]
            return words[0].upper() + words[1:] if match.group()[0].isupper() else words

        return re.sub(f"{edge}(?:{pattern}){edge}", plain, sentence, flags=flags)

    def blur(self, lines: list[Line], severity: int) -> list[Line]:
        """Figures give way to vague words."""
        share = BLURRED[severity]
        spots = sum(
            1
            for line in lines
            for s in line.sentences
            if re.search(r"\d", s) and line.kind == "text"
        )
        hits = [True] * round(spots * share) + [False] * spots
        hits = hits[:spots]
        self.rng.shuffle(hits)

        def change(sentence: str, found: Found | None, line: Line) -> list[str] | None:
            if not re.search(r"\d", sentence) or not hits.pop():
                return None
            slot = vague_slot(found)
            if found is not None and slot:
                ways = [self.said.say(slot, self.rng, **found.values) for _ in range(3)]
                return [self.said.join(found.lead, self.fitting(sentence, ways))]
            if found is not None and found.role in {"definition", "summary"} and severity < 4:
                return None
            return [blur_number(sentence, self.said.words, self.rng)]

        lines = self.each(lines, change)
        if severity >= 2:
            lines = self.cells(
                lines, share, lambda cell: f" {self.rng.choice(self.said.words['vague_cell'])} "
            )
        return lines

    def one_sided(self, lines: list[Line], severity: int) -> list[Line]:
        """Whole areas give way to more of what remains; contrary evidence goes."""
        areas = list(dict.fromkeys(line.area for line in lines if line.area))
        good = self.rng.random() < 0.5
        if severity >= 2:
            lines = self.without_contrary(lines, severity, good)
        else:
            lines = self.each(lines, lambda *_: None)
        if len(areas) < 2:
            return lines
        drop = {1: 1, 2: 2, 3: (len(areas) + 1) // 2, 4: len(areas)}[severity]
        drop = min(drop, len(areas) - 1)
        gone = set(self.rng.sample(areas, drop))
        kept = [area for area in areas if area not in gone]
        stock = {area: self.material(lines, area) for area in kept}
        used = {w for w in self.said.areas if any(w in (x.raw or x.mark).casefold() for x in lines)}
        out: list[Line] = []
        new_area = {area: kept[i % len(kept)] for i, area in enumerate(sorted(gone))}
        for line in lines:
            if line.area not in gone:
                out.append(line)
                continue
            area = new_area[line.area]
            if line.kind == "heading" or line.mark.strip(" -*：:"):
                line = self.rehead(line, area, used)
            if line.kind == "text":
                line = line.with_sentences(self.pad(line, stock[area], area))
            out.append(line)
        return out

    def without_contrary(self, lines: list[Line], severity: int, good: bool) -> list[Line]:
        """One side only: no counter-evidence, no risks, a conclusion that leans."""
        gone = {"counter"} if severity == 2 else {"counter", "risk", "sensitivity"}

        def change(sentence: str, found: Found | None, line: Line) -> list[str] | None:
            if found is None:
                return None
            if found.role in gone:
                return [self.flat(sentence, found, line)]
            if found.slot == "summary.close" and severity >= 3:
                slot = "summary.one_sided_good" if good else "summary.one_sided_bad"
                return [self.said.say(slot, self.rng, **found.values)]
            return None

        return self.each(lines, change)

    def material(self, lines: list[Line], area: str) -> list[str]:
        """Sentences of an area that bear saying again."""
        return [
            s
            for line in lines
            if line.area == area and line.kind == "text"
            for s in line.sentences
            if (found := self.said.recognise(s)) and found.role in _AGAIN
        ]

    def pad(self, line: Line, stock: list[str], area: str) -> list[str]:
        """As many sentences as a line had, on another area, saying nothing new."""
        return [self.filler(sentence, stock, area) for sentence in line.sentences]

    def filler(self, sentence: str, stock: list[str], area: str) -> str:
        """A sentence of about this size that says again what is there."""
        again = [self.rng.choice(stock) for _ in range(3)] if stock else []
        found = [self.said.recognise(old) for old in again]
        items = [f.values["item"] for f in found if f is not None and "item" in f.values]
        return self.fitting(sentence, [
            *self.restated(area, 3),
            *(self.reword(old, f, 1.0) for old, f in zip(again, found, strict=True)),
            *self.empty(items[0] if items else "", 3),
        ])  # fmt: skip

    def rehead(self, line: Line, area: str, used: set[str]) -> Line:
        """The heading of one area turned into one of another."""
        choices = [w for w in self.said.heading[area] if w.casefold() not in used]
        words = self.rng.choice(choices or self.said.heading[area])
        used.add(words.casefold())
        target = line.raw or line.mark
        for old in sorted(self.said.heading[line.area], key=len, reverse=True):
            if old.casefold() in target.casefold():
                target = re.sub(re.escape(old), words, target, count=1, flags=re.I)
                break
        if line.kind == "heading":
            return Line("heading", raw=target, area=area)
        return Line("text", target, "", line.sentences, area)


def _is_year(digits: str) -> bool:
    return len(digits) == 4 and digits.isdigit() and digits[:2] in {"19", "20"}
