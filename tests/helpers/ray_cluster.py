"""Score 64 texts by two workers of a local Ray cluster: python ray_cluster.py MODEL OUT.

A process of its own, as Ray reads what it is told about `uv run` when it is first imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TEXTS = [f"report {i} " + "margin " * (i % 5) for i in range(64)]


def main(model: str, out: str) -> None:
    """Write the scored rows, by id."""
    import pyarrow as pa
    import ray

    from reward_model.score.files.ray import ScoreBlocks

    table = pa.table({"id": range(64), "prompt": ["q"] * 64, "response": TEXTS})
    ray.init(num_cpus=4, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    data = ray.data.from_arrow([table.slice(start, 8) for start in range(0, 64, 8)])
    scored = data.map_batches(
        ScoreBlocks,
        fn_constructor_args=(model,),
        batch_format="pyarrow",
        batch_size=8,
        concurrency=2,
    )
    rows = sorted(scored.take_all(), key=lambda row: row["id"])
    Path(out).write_text(json.dumps(rows), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
