"""Which texts go through the model together: without padding where the backbone allows it, and
what several responses to one prompt begin with only once; else padded batches of like length.

`Forward(model, device, pad, batch_tokens).batches(encoded, alike)`, used by `RewardScorer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from reward_model.data.tokens.inputs import Encoded
from reward_model.model.batches import collate, lane_batches, row_batches, token_batches
from reward_model.model.lanes import lanes_for
from reward_model.model.network import MultiDimRewardModel
from reward_model.model.packed import enable, is_causal, packs_on
from reward_model.model.rows import TokenRow
from reward_model.stats.bootstrap import Floats

Vectors: TypeAlias = npt.NDArray[np.float32]
LEAST_SHARED = 64
"""Tokens in common from which on it pays to compute them once; together with the fifth of the
longest text below, as attention to a beginning needs a mask and so a slower kernel."""


class Reading(NamedTuple):
    """What the model makes of B texts."""

    chances: Floats
    """[B, D, K] chance of each level."""
    vectors: Vectors
    """[B, H] what the heads read of each."""


class Forward:
    """Runs a model over texts of any number and length.

    Args:
        model: in evaluation mode, on `device`.
        device: where it is.
        pad: id to pad with.
        batch_tokens: most tokens at once, over all lanes of a CPU; a longer text goes alone, and
            texts that begin alike may take up to twice their common part.
    """

    def __init__(
        self,
        model: MultiDimRewardModel,
        device: torch.device,
        pad: int,
        batch_tokens: int,
    ) -> None:
        self.model, self.device, self.pad, self.batch_tokens = model, device, pad, batch_tokens
        first = enable(model.backbone)
        self._first = first or 0
        self._packs = first is not None and packs_on(model.backbone, device, model.backbone.dtype)
        self._shares = first is not None and is_causal(model.backbone) and not model.config.window

    def batches(
        self, encoded: Mapping[int, Encoded], alike: Iterable[Sequence[int]] = ()
    ) -> Iterator[tuple[list[int], Floats]]:
        """Rows, with the chance of each level [rows, D, K]; see `readings`."""
        return ((rows, read.chances) for rows, read in self.readings(encoded, alike))

    def readings(
        self, encoded: Mapping[int, Encoded], alike: Iterable[Sequence[int]] = ()
    ) -> Iterator[tuple[list[int], Reading]]:
        """Rows, with what the model makes of them; every row once, in no order.

        Args:
            encoded: row -> its tokens.
            alike: rows that probably begin alike, such as responses to one prompt.
        """
        lanes = lanes_for(self.device, self.batch_tokens)
        budget = self.batch_tokens // lanes.count
        left = dict(encoded)
        work: list[tuple[list[int], int]] = []  # rows, and tokens that they begin with alike
        for rows in alike if self._shares else ():
            if len(rows) < 2:
                continue
            ids = [encoded[i].input_ids for i in rows]
            prefix = common_beginning(ids)
            if prefix >= max(LEAST_SHARED, max(map(len, ids)) // 5):
                own = {i: len(left.pop(i).input_ids) - prefix for i in rows}
                batches = row_batches(own, max(budget - prefix, prefix))
                work += ((batch, prefix) for batch in batches)
        lengths = {i: len(one.input_ids) for i, one in left.items()}
        if self._packs:
            work += ((batch, 0) for batch in lane_batches(lengths, budget, lanes.count))
        else:
            work += ((batch, 0) for batch in token_batches(lengths, budget))

        def read(rows_and_prefix: tuple[list[int], int]) -> tuple[list[int], Reading]:
            rows, prefix = rows_and_prefix
            texts = [encoded[i] for i in rows]
            if not (self._packs or prefix):
                return rows, self._padded(texts)
            row = TokenRow(self._first, None if prefix else self.model.config.window)
            if prefix:
                row.add_shared(texts, prefix)
            else:
                for text in texts:
                    row.add(text)
            return rows, self._packed(row)

        yield from lanes.map(read, work)

    def _packed(self, row: TokenRow) -> Reading:
        return self._run(**row.tensors(self.device), row=row)

    def padded(self, encoded: Sequence[Encoded]) -> Floats:
        """One padded batch: [B, D, K]."""
        return self._padded(encoded).chances

    def _padded(self, encoded: Sequence[Encoded]) -> Reading:
        multiple = 1 if self.device.type == "cpu" else 8
        answers = bool(self.model.config.length_heads)
        batch = collate(encoded, self.pad, multiple=multiple, answers=answers)
        moved = {name: value.to(self.device) for name, value in batch.items()}
        return self._run(**moved)

    @torch.inference_mode()
    def _run(self, **inputs: Any) -> Reading:
        # A score is the same wherever it is asked for: a trainer's autocast is of its own model.
        with torch.autocast(self.device.type, enabled=False):
            pooled = self.model(**inputs, pooled_only=True).pooled
            logits = self.model.score_pooled(pooled)
        chances: Floats = torch.softmax(logits.cpu().double(), dim=-1).numpy()
        return Reading(chances, pooled.float().cpu().numpy())


def common_beginning(rows: Sequence[list[int]]) -> int:
    """Tokens that all rows begin with; at least one of each row is left over.

    >>> common_beginning([[1, 2, 3, 9], [1, 2, 4], [1, 2, 3]])
    2
    >>> common_beginning([[1, 2], [1, 2, 3]])
    1
    """
    low, high = min(rows), max(rows)
    shortest = min(map(len, rows)) - 1
    same = np.asarray(low[:shortest]) == np.asarray(high[:shortest])
    return shortest if same.all() else int(same.argmin())
