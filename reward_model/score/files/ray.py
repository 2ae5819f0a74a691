"""Scoring over a cluster with Ray Data: blocks of a table in, the same with scores out.

`ray.data.read_parquet(...).map_batches(ScoreBlocks, fn_constructor_args=("outputs/best",),
batch_format="pyarrow", concurrency=4)`; each worker loads the model once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_model.records import UserError
from reward_model.records.files import Pathish
from reward_model.records.rows import KEY, unscored
from reward_model.records.tables import without_null
from reward_model.score.files.rows import parts_of, result
from reward_model.score.files.workers import Models

if TYPE_CHECKING:
    import pyarrow


class ScoreBlocks:
    """A callable for `map_batches`: adds the column of scores that `reward-model score` writes.

    Args:
        model: folder of a trained model that every worker can read, or several for an ensemble.
        settings: of `reward_model.score.files.workers.Models`: how, weights, risk, device,
            batch_tokens, abstain.
    """

    def __init__(self, model: Pathish | Sequence[Pathish], **settings: Any) -> None:
        paths = [model] if isinstance(model, str | Path) else list(model)  # type: ignore[arg-type]
        models = Models(tuple(Path(path) for path in paths), **settings)
        self._scorer, self._familiar = models.load(), models.familiar
        self._ensemble = len(paths) > 1

    def __call__(self, block: pyarrow.Table) -> pyarrow.Table:
        """Score the rows of a block, each a pair or a prompt with a response or completion.

        Raises:
            UserError: the columns are neither.
        """
        import pyarrow as pa

        from reward_model.score.files.parquet import score_type

        if KEY in block.column_names:
            block = block.drop_columns(KEY)
        rows = [parts_of(without_null(unscored(row)), {}) for row in block.to_pylist()]
        flat = [part for row in rows for part in row]
        scores = iter(
            self._scorer.score_batch([p.prompt for p in flat], [p.response for p in flat])
        )
        results = [result(parts, [next(scores) for _ in parts]) for parts in rows]
        # By the columns, not by the rows at hand: all blocks have to agree.
        sides = ["chosen", "rejected"] if "chosen" in block.column_names else [""]
        wrong = next((p for p in flat if p.side not in sides), None)
        if wrong is not None:
            raise UserError(
                "pairs and single responses in one table", mend="score them as two tables"
            )
        kind = score_type(
            self._scorer.dimensions, sides, ensemble=self._ensemble, familiar=self._familiar
        )
        return block.append_column(KEY, pa.array(results, kind))


__all__ = ["ScoreBlocks"]
