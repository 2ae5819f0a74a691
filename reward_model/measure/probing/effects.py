"""What a probe does to a model's scores, text by text; `run` beside it counts it up.

`measure(scorer, texts, probes, seed)` scores every text once as it is and once a probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reward_model.data.dataset import Sample
from reward_model.measure.probing.probes import Probe, edits_of
from reward_model.measure.texts import Asked, score_all
from reward_model.records import Text
from reward_model.records.terminal import progress
from reward_model.score.scorer import RewardScorer
from reward_model.stats.bootstrap import Floats
from reward_model.stats.metrics import Bools


@dataclass(frozen=True)
class Effect:
    """One probe on all texts."""

    change: Floats
    """[n, D + 1] change of each level and of the reward; NaN where none was measured."""
    not_applicable: int
    """Texts that offer nothing to edit."""
    unseen: int
    """Edits beyond what the model reads: its tokens are the same."""
    no_opinion: int
    """Texts or edits that the model gave no score."""
    cut: int
    """Of those measured, edited responses that lost their middle."""

    @property
    def measured(self) -> Bools:
        """[n] texts whose edit the model saw and scored."""
        return np.asarray(np.isfinite(self.change).all(axis=1))


def measure(
    scorer: RewardScorer, texts: Sequence[Sample], probes: Sequence[Probe], seed: int
) -> dict[str, Effect]:
    """Probe name -> its effect."""
    with progress(transient=True) as bar:
        task = bar.add_task("probe", total=len(texts) * (len(probes) + 1), note="unedited")

        def look(asked: Sequence[Asked | None], note: str) -> tuple[Floats, Bools]:
            """Levels and reward [n, D + 1], NaN where there is no score; [n] who was cut."""
            rows = {i: one for i, one in enumerate(asked) if one is not None}
            bar.update(task, advance=len(asked) - len(rows), note=note)
            scores = score_all(
                scorer, list(rows.values()), lambda count: bar.update(task, advance=count)
            )
            levels = np.full((len(asked), len(scorer.dimensions) + 1), np.nan)
            cut: Bools = np.zeros(len(asked), dtype=np.bool_)
            for i, score in zip(rows, scores, strict=True):
                cut[i] = score.response_truncated
                if score.reward is not None:
                    levels[i] = [*(score.levels[name] for name in scorer.dimensions), score.reward]
            return levels, cut

        before, _ = look(texts, "unedited")
        # The tokens say whether the model sees an edit at all; the score comes from the scorer.
        tokens = [
            scorer.encode(text.prompt, text.response).input_ids if there else None
            for text, there in zip(texts, np.isfinite(before[:, -1]).tolist(), strict=True)
        ]
        effects = {}
        for probe in probes:
            edited: list[Asked | None] = []
            skipped = unseen = 0
            for made, old in zip(edits_of(probe, texts, seed), tokens, strict=True):
                skipped += made is None
                if made is None or old is None:
                    edited.append(None)
                    continue
                same = scorer.encode(*made).input_ids == old
                unseen += same
                edited.append(None if same else _Edit(*made))
            after, cut = look(edited, probe.name)
            change = after - before
            scored: Bools = np.asarray(np.isfinite(change).all(axis=1))
            change[~scored] = np.nan
            silent = len(texts) - skipped - unseen - int(scored.sum())
            effects[probe.name] = Effect(change, skipped, unseen, silent, int((cut & scored).sum()))
    return effects


class _Edit(NamedTuple):
    prompt: Text
    response: Text
