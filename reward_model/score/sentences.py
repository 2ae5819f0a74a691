"""Which sentences of a response carry its score: each is left out in turn, and the rest is scored.

`explain(scorer, prompt, response)` gives the effect of every sentence on every dimension. An effect
is what the whole text has more than the text without the sentence: below zero, it is better left
out. Effects need not add up to the score; `Explanation.sums` says how far they do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from reward_model.records import Text, UserError, as_text
from reward_model.records.chat.turns import judged
from reward_model.records.texts import Words, as_words, sentence_starts
from reward_model.score.scorer import Score

MOST = 64
"""Passages that are left out; the sentences of a longer text are joined with their neighbours."""
NOTHING = "…"
"""What stands for a response without its sentences: an empty one has no score."""
_MARK = re.compile(r"\s*(?:[-*•·>](?![-*\d])|\d{1,3}(?:\.(?!\d)|[、)）])|[（(]\d{1,3}[)）])?\s*")
"""Of a list; `**bold`, `-3.1` and `14.7%` begin with none."""


class Scores(Protocol):
    """Whatever scores texts: a `RewardScorer`, an ensemble, a client."""

    def score_batch(self, prompts: Sequence[Words], responses: Sequence[Words]) -> list[Score]:
        """One score a response, in order."""


class Span(NamedTuple):
    """A passage's place in the text, in characters."""

    start: int
    end: int


@dataclass(frozen=True)
class Passage:
    """A sentence, a line, a table, or several neighbours of a long text, and what it does."""

    start: int
    end: int
    text: str
    reward: float | None
    """Reward of the whole text less that without the passage; None where that has no score."""
    levels: dict[str, float]
    """Dimension -> the same of its expected level; empty where there is no score."""


@dataclass(frozen=True)
class Sum:
    """Whether effects add up."""

    passages: float
    """Their sum."""
    whole: float
    """Effect of leaving out all of them at once."""


@dataclass(frozen=True)
class Explanation:
    """A score and the passages that carry it."""

    text: str
    """The answer that was judged."""
    score: Score
    passages: list[Passage] = field(default_factory=list)
    """In the order of the text; none where there is no score."""
    sentences: int = 0
    """How many there are; more than passages where neighbours were joined."""
    reward: Sum | None = None
    levels: dict[str, Sum] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What limits it, a sentence each."""

    def to_json(self) -> dict[str, Any]:
        """All but the score, which stands beside it."""
        return {k: v for k, v in asdict(self).items() if k != "score"}


class Plan(NamedTuple):
    """What has to be scored to explain a text."""

    whole: tuple[Text, Text]
    """Prompt and response as they were given."""
    prompt: Text
    text: str
    """The answer that is judged."""
    spans: list[Span]
    sentences: int

    @property
    def pairs(self) -> list[tuple[Text, Text]]:
        """Prompts and responses to score: the whole, the whole without each passage, nothing."""
        parts = [self.text[: span.start] + self.text[span.end :] for span in self.spans]
        return [self.whole, *((self.prompt, part) for part in (*parts, NOTHING))]


def explain(scorer: Scores, prompt: Words, response: Words, *, most: int = MOST) -> Explanation:
    """Score a response, and once more without each of its sentences.

    Args:
        scorer: scores all texts in one batch; what they share is computed once where the backbone
            allows it.
        prompt: what was asked.
        response: what is judged.
        most: passages at most; the sentences of a longer text are joined with their neighbours.

    Raises:
        UserError: a prompt or response that is none.
    """
    if most < 1:
        raise UserError(f"{most} passages at most", expected="1 or more")
    plan = plan_of(prompt, response, most)
    prompts, responses = zip(*plan.pairs, strict=True)
    return explained(plan, scorer.score_batch(prompts, responses))


def plan_of(prompt: Words, response: Words, most: int = MOST) -> Plan:
    """What has to be scored to explain a response."""
    whole = as_words(prompt, "prompt"), as_words(response, "response")
    asked = judged(*whole)
    text = as_text(asked.answer)
    found = passages(text)
    return Plan(whole, asked.prompt, text, joined(found, most), len(found))


def explained(plan: Plan, scores: Sequence[Score]) -> Explanation:
    """The explanation that follows from the scores of `plan.pairs`."""
    whole, *parts, nothing = scores
    if whole.reward is None or nothing.reward is None:
        return Explanation(plan.text, whole, sentences=plan.sentences)
    found = [
        _passage(plan.text, span, whole, part) for span, part in zip(plan.spans, parts, strict=True)
    ]
    return Explanation(
        plan.text,
        whole,
        found,
        plan.sentences,
        Sum(sum(one.reward or 0.0 for one in found), whole.reward - nothing.reward),
        {
            name: Sum(sum(one.levels.get(name, 0.0) for one in found), level - nothing.levels[name])
            for name, level in whole.levels.items()
        },
        _notes(plan, whole, found),
    )


def _passage(text: str, span: Span, whole: Score, part: Score) -> Passage:
    words = text[span.start : span.end]
    if part.reward is None or whole.reward is None:
        return Passage(*span, words, None, {})
    effects = {name: level - part.levels[name] for name, level in whole.levels.items()}
    return Passage(*span, words, whole.reward - part.reward, effects)


def _notes(plan: Plan, whole: Score, found: Sequence[Passage]) -> list[str]:
    notes = []
    if plan.sentences > len(plan.spans):
        notes.append(
            f"{plan.sentences} sentences were joined into {len(plan.spans)} passages: what is said "
            "of one is said of all its sentences"
        )
    if len(plan.spans) == 1:
        notes.append("one sentence alone carries all there is")
    if whole.response_truncated:
        notes.append(
            "the response did not fit: without a sentence the model reads more of its middle, and "
            "that is in the effects"
        )
    if silent := sum(one.reward is None for one in found):
        notes.append(f"without {silent} of the passages the rest has no score")
    return notes


def passages(text: str) -> list[Span]:
    """The sentences of a text in Chinese or English, line by line; a table is one, and so is code.

    >>> text = "# Margins\\n\\n毛利率升至35.2%。成本下降。\\n| a | b |\\n| 1 | 2 |\\n- Cash. Good."
    >>> [text[a:b].strip() for a, b in passages(text)]
    ['# Margins', '毛利率升至35.2%。', '成本下降。', '| a | b |\\n| 1 | 2 |', 'Cash.', 'Good.']
    """
    found: list[Span] = []
    place, block, fenced = 0, "", False
    for line in text.splitlines(keepends=True):
        start, place = place, place + len(line)
        bare = line.lstrip()
        fence = bare.startswith("```")
        kind = "code" if fenced or fence else "table" if bare.startswith("|") else ""
        if kind and kind == block:
            found[-1] = Span(found[-1].start, place)
        elif kind:
            found.append(Span(start, place))
        elif bare:
            found += _sentences(line, start)
        fenced ^= fence
        block = "" if kind == "code" and not fenced else kind
    return found


def _sentences(line: str, at: int) -> list[Span]:
    starts = sentence_starts(line.rstrip())
    if not starts:
        return [Span(at, at + len(line))]
    mark = _MARK.match(line)
    first = mark.end() if mark else 0  # the mark of a list stays with what is left of its line
    ends = [*starts, len(line.rstrip())]
    begins = [first, *starts]
    return [Span(at + a, at + b) for a, b in zip(begins, ends, strict=True) if a < b]


def joined(spans: Sequence[Span], most: int) -> list[Span]:
    """At most `most` passages, neighbours joined evenly.

    >>> joined([Span(0, 2), Span(2, 5), Span(6, 9)], 2)
    [Span(start=0, end=2), Span(start=2, end=9)]
    """
    if len(spans) <= most:
        return [*spans]
    cuts = [len(spans) * i // most for i in range(most + 1)]
    return [Span(spans[a].start, spans[b - 1].end) for a, b in pairwise(cuts)]
