"""What a probe does to a model's scores, text by text; `run` beside it counts it up.

`measure(scorer, texts, probes, seed)` scores every text once as it is and once a probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reward_model.data.dataset import Sample
from reward_model.data.tokens.inputs import Encoded
from reward_model.measure.probing.probes import Probe, apply
from reward_model.model.batches import token_batches
from reward_model.records import as_text
from reward_model.records.terminal import progress
from reward_model.score.scorer import RewardScorer
from reward_model.stats.bootstrap import Floats
from reward_model.stats.metrics import Bools, expected_levels


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

        def levels(encoded: Sequence[Encoded | None], note: str) -> Floats:
            out = np.full((len(encoded), len(scorer.dimensions) + 1), np.nan)
            lengths = {i: len(one.input_ids) for i, one in enumerate(encoded) if one is not None}
            bar.update(task, advance=len(encoded) - len(lengths), note=note)
            for batch in token_batches(lengths, scorer.batch_tokens):
                out[batch] = _levels(scorer, [one for i in batch if (one := encoded[i])])
                bar.update(task, advance=len(batch))
            return out

        # An empty response gets no opinion, as everywhere; its row stays NaN.
        plain = [
            scorer.encode(text.prompt, text.response) if as_text(text.response).strip() else None
            for text in texts
        ]
        before = levels(plain, "unedited")
        effects = {}
        for probe in probes:
            edited: list[Encoded | None] = []
            skipped = unseen = 0
            for text, old in zip(texts, plain, strict=True):
                response = apply(probe, text.prompt, text.response, seed)
                new = None if response is None else scorer.encode(text.prompt, response)
                same = new is not None and old is not None and new.input_ids == old.input_ids
                skipped, unseen = skipped + (new is None), unseen + same
                edited.append(None if same else new)
            change = levels(edited, probe.name) - before
            scored: Bools = np.asarray(np.isfinite(change).all(axis=1))
            change[~scored] = np.nan
            silent = len(texts) - skipped - unseen - int(scored.sum())
            cut = sum(
                one is not None and one.response_cut and bool(there)
                for one, there in zip(edited, scored, strict=True)
            )
            effects[probe.name] = Effect(change, skipped, unseen, silent, cut)
    return effects


def _levels(scorer: RewardScorer, encoded: Sequence[Encoded]) -> Floats:
    """[B, D + 1] expected levels and the reward; NaN where the model's output is no number."""
    levels = expected_levels(scorer.probabilities(encoded))
    shares = np.array([scorer.weights[name] for name in scorer.dimensions])
    reward = levels @ shares / scorer.rubric.scale
    return np.asarray(np.concatenate([levels, reward[:, None]], axis=1))
