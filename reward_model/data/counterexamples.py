"""Copies of training texts that a reward should not be fooled by, with the levels they deserve.

`counterexamples(samples, share, rubric, seed)`: words in no order and salad at level 0, and copies
in another layout at the levels of the text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from reward_model.data.sample import Sample, Soft
from reward_model.data.scrambled import salad, sentences, shuffle_words
from reward_model.records import IGNORE, as_text
from reward_model.rubrics import Rubric

MOST = 0.3
"""Largest share of copies: beyond, a model learns more of copies than of texts."""
DESCRIBES = frozenset({"verbosity", "complexity"})
"""Dimensions that describe rather than praise: words in no order may deserve any level there."""


def counterexamples(
    samples: Sequence[Sample], share: float, rubric: Rubric, seed: int
) -> tuple[list[Sample], dict[str, int]]:
    """Copies, of texts drawn by the seed, and how many there are of each kind.

    A third each: words shuffled, salad, another layout; single texts of the group they are copies
    of, with labels where their text has some.

    Args:
        samples: training texts.
        share: copies for each text, up to `MOST`.
        rubric: of the labels.
        seed: of the draw and of the edits.
    """
    wanted = round(share * len(samples))
    rng = random.Random(f"{seed}:counterexamples")
    rows = rng.sample(range(len(samples)), wanted)
    made: list[Sample] = []
    counts = dict.fromkeys(KINDS, 0)
    for i, row in enumerate(rows):
        kind = tuple(KINDS)[i % len(KINDS)]
        sample, (edit, worthless) = samples[row], KINDS[kind]
        text = as_text(sample.response)
        edited = edit(text, random.Random(f"{seed}:{kind}:{sample.text_digest}"))
        if edited.strip() and edited != text:
            made.append(_copy(sample, edited, kind, rubric, worthless=worthless))
            counts[kind] += 1
    return made, counts


def lay_out(text: str, rng: random.Random) -> str:
    """The same words in another layout: marks of Markdown off, or a point for each sentence.

    >>> lay_out("## Sales\\n- **Up** by 2.5%.", random.Random(0))
    'Sales\\nUp by 2.5%.'
    >>> lay_out("Sales rose. Costs fell.", random.Random(0))
    '- Sales rose.\\n- Costs fell.'
    """
    plain = re.sub(r"(?m)^\s*(?:#+|[-*•])\s+|\*\*", "", text)
    if plain != text:
        return plain
    lines = text.split("\n")
    return "\n".join(
        "\n".join(f"- {part}" for part in sentences(line)) if "|" not in line else line
        for line in lines
    )


KINDS: dict[str, tuple[Callable[[str, random.Random], str], bool]] = {
    "shuffled_words": (shuffle_words, True),
    "salad": (salad, True),
    "another_layout": (lay_out, False),
}
"""Kind -> its edit, and whether nothing of worth is left."""


def _copy(sample: Sample, text: str, kind: str, rubric: Rubric, *, worthless: bool) -> Sample:
    labels, soft = sample.labels, sample.soft
    if worthless:
        labels = tuple(
            IGNORE if name in DESCRIBES or label == IGNORE else 0
            for name, label in zip(rubric.names, labels, strict=True)
        )
        soft = None if soft is None else _one_hot(labels, rubric.classes)
    pair = f"{sample.pair}:{sample.side}:{kind}"
    return Sample(
        sample.prompt,
        text,
        labels,
        sample.group,
        "single",
        pair,
        metadata=sample.metadata,
        soft=soft,
    )


def _one_hot(labels: Sequence[int], classes: int) -> Soft:
    return tuple(tuple(float(level == label) for level in range(classes)) for label in labels)
