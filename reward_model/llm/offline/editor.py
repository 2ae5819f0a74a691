"""What every edit of a report needs: sentences said again, sentences that say nothing, a length.

Sentences are recognised, not made anew: what an edit is not after stays, in the same or other
words, so that having been edited tells nothing by itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from reward_model.llm.offline.analysis import Analysis
from reward_model.llm.offline.dress import embolden
from reward_model.llm.offline.layout import Line, render
from reward_model.llm.offline.phrases import Found, Phrases

SPREAD = 0.02
"""Standard deviation of the length that an edit aims at, relative to the length it was given."""
REWORD = 0.45
"""Share of untouched sentences said in another way."""
_AREAS = ("profitability", "growth", "cash_flow")
_LED = {"figure", "trend", "flat", "vague", "cause1"}
"""What takes a connecting word well."""
_STANDING = {"summary", "risk", "definition", "courtesy", "disclosure", "crosscheck"}


class Editor:
    """Edits the reports of one company."""

    def __init__(self, phrases: Phrases, analysis: Analysis, rng: random.Random) -> None:
        self.said, self.analysis, self.rng = phrases, analysis, rng
        self.language = phrases.language
        self.fillers: set[str] = set()

    def each(
        self, lines: list[Line], change: Callable[[str, Found | None, Line], list[str] | None]
    ) -> list[Line]:
        """Give each sentence to `change`; None leaves it, now and then in other words."""
        out = []
        for line in lines:
            if line.kind != "text":
                out.append(line)
                continue
            said: list[str] = []
            for sentence in line.sentences:
                found = self.said.recognise(sentence)
                new = change(sentence, found, line)
                said += [self.reword(sentence, found)] if new is None else new
            out.append(line.with_sentences(said))
        return out

    def reword(self, sentence: str, found: Found | None, share: float = REWORD) -> str:
        """A recognised sentence in other words, sometimes."""
        if found is None or self.rng.random() >= share:
            return sentence
        return self.rebold(sentence, self.said.again(found, self.rng))

    def rebold(self, old: str, new: str) -> str:
        """Keep bold what was bold: a figure, else what the sentence is about."""
        if "**" not in old or "**" in new:
            return new
        if not any(ch.isdigit() for ch in new):
            found = self.said.recognise(new)
            item = found.values.get("item", "") if found else ""
            return new.replace(item, f"**{item}**", 1) if item else f"**{new[:-1]}**{new[-1]}"
        return embolden(new)

    def flat(self, sentence: str, found: Found | None, line: Line) -> str:
        """A sentence that takes the place of an explanation and explains nothing."""
        item = (found.values.get("item") if found else "") or self.item_of(line)
        area = line.area or self.rng.choice(_AREAS)
        return self.fitting(sentence, [*self.empty(item, 4), *self.restated(area, 4)])

    def empty(self, item: str, number: int) -> list[str]:
        """Sentences that say nothing, about an item if there is one."""
        slots = ["flat.cause", "flat.cause", "flat.view"] if item else ["flat.view"]
        return [self.said.say(self.rng.choice(slots), self.rng, item=item) for _ in range(number)]

    def restated(self, area: str, number: int) -> list[str | None]:
        """Sentences that repeat lines of the statements."""
        return [self.analysis.restate(area, self.rng) for _ in range(number)]

    def fit(self, lines: list[Line], size: int) -> list[Line]:
        """Reword sentences, with or without a connecting word, until the text is about as long.

        Every edit aims at the length it was given, give or take the same small chance amount.
        """
        gap = round(size * self.rng.gauss(1, SPREAD)) - len(render(lines, self.language))
        spots = [(n, k) for n, line in enumerate(lines) for k in range(len(line.sentences))]
        self.rng.shuffle(spots)
        for n, k in spots:
            if abs(gap) < 3:
                break
            old = lines[n].sentences[k]
            found = self.said.recognise(old)
            if found is None or found.role in _STANDING:
                continue
            leads = ["", found.lead]
            if gap > 0 and found.role in _LED:
                leads += self.rng.sample(self.said.words["connectors"], 2)
            ways = [
                self.rebold(old, self.said.again(found._replace(lead=lead), self.rng))
                for lead in leads
                for _ in range(2)
            ]
            new = min([old, *ways], key=lambda way: abs(gap - len(way) + len(old)))
            gap -= len(new) - len(old)
            said = list(lines[n].sentences)
            said[k] = new
            lines[n] = lines[n].with_sentences(said)
        return lines

    def fitting(self, old: str, choices: Iterable[str | None]) -> str:
        """The choice most like a sentence in length and figures, not used before where possible."""

        def distance(choice: str) -> int:
            figures = abs(_figures(choice) - _figures(old))
            return abs(len(choice) - len(old)) + 3 * figures + 30 * (choice in self.fillers)

        best = min((choice for choice in choices if choice), key=distance)
        self.fillers.add(best)
        return self.rebold(old, best.replace("**", ""))

    def item_of(self, line: Line) -> str:
        """The item a line is about."""
        for sentence in line.sentences:
            found = self.said.recognise(sentence)
            if found is not None and found.values.get("item"):
                return found.values["item"]
        return ""


def _figures(sentence: str) -> int:
    return sum(ch.isdigit() for ch in sentence)
