"""Share of planted errors that a judge finds with and without the findings of the checks.

uv run python benchmarks/evidence.py [PAIRS] [--llm openai:MODEL] [--reports 40] [--json FILE]
Without PAIRS the embedded writer makes reports. The embedded judge does its own checking, so for
it both columns are the same; the difference is a figure about language models.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from judge.calibrate.run import calibrate_file
from judge.settings import ScoreSettings


def embedded(folder: Path, count: int) -> Path:
    """Pairs by the embedded writer, in both languages."""
    out = folder / "pairs.jsonl"
    flags = ["--out", str(out), "--pairs", str(count), "--language", "both"]
    subprocess.run([sys.executable, "-m", "datagen", "pairs", *flags], check=True)
    return out


def main() -> None:
    """Calibrate with and without evidence and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path, nargs="?")
    parser.add_argument("--llm", default="offline")
    parser.add_argument("--base-url")
    parser.add_argument("--reports", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settings = ScoreSettings(llm=(options.llm,), base_url=options.base_url, samples=2)
    with tempfile.TemporaryDirectory() as folder:
        pairs = options.pairs or embedded(Path(folder), 2 * options.reports)
        start = time.perf_counter()
        result = calibrate_file(
            pairs, settings, evidence="both", max_reports=options.reports, json_out=options.json
        )
    for name, run in result["runs"].items():
        found, alarms = run["recall"], run["below_top"]
        print(
            f"evidence {name}: {found['hits']} of {found['count']} planted errors found, "
            f"{alarms['hits']} of {alarms['count']} clean texts below the highest level"
        )
    print(f"{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
