"""Ways to cut held-out texts into parts that may go differently: what, how bad, where, how long.

`slices_of(samples)` gives name -> value -> rows; a pair counts in a slice when both of its sides
are in it. Kinds that training held out stand beside the others, named as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from reward_model.data.dataset import Sample, pair_indices
from reward_model.data.split import Split
from reward_model.records import as_text
from reward_model.stats.metrics import Bools

MOST = 20
"""Values of one slice that are shown; the rarest ones are left out."""


def slices_of(samples: Sequence[Sample], split: Split | None = None) -> dict[str, dict[str, Bools]]:
    """Slice -> value -> mask of rows; slices with fewer than two values say nothing.

    Args:
        samples: the texts.
        split: of the model, where it is known: which kinds were never trained on.
    """
    out: dict[str, dict[str, Bools]] = {}
    columns = _values(samples)
    if split is not None and split.hold_out:
        columns = _untrained(samples, split) | columns
        for name, kinds in split.hold_out.items():
            columns[name] = [
                f"never trained on: {value}" if value in kinds else value for value in columns[name]
            ]
    for name, values in columns.items():
        counts = Counter(value for value in values if value is not None)
        if len(counts) < 2:
            continue
        kept = sorted(value for value, _ in counts.most_common(MOST))
        column = np.array(values, dtype=object)
        out[name] = {value: np.asarray(column == value, dtype=np.bool_) for value in kept}
    return out


def _values(samples: Sequence[Sample]) -> dict[str, list[str | None]]:
    read: dict[str, Callable[[Sample], str | None]] = {
        "degradation": lambda s: "neutral rewrite" if s.neutral else s.degradation,
        "severity": lambda s: None if s.neutral or s.severity is None else str(s.severity),
        "field": lambda s: s.field,
        "language": lambda s: s.language,
        "generator": lambda s: s.generator,
    }
    out = {name: [value(sample) for sample in samples] for name, value in read.items()}
    out |= _planted(samples)
    out["length"] = _lengths(samples)
    out["longer side"] = _longer(samples)
    return out


def _untrained(samples: Sequence[Sample], split: Split) -> dict[str, list[str | None]]:
    """All kinds that were held out against all that were not."""
    return {
        "training": [
            "kinds never trained on" if split.holds_out(sample) else "kinds trained on"
            for sample in samples
        ]
    }


def _planted(samples: Sequence[Sample]) -> dict[str, list[str | None]]:
    """Preference pairs whose rejected side holds errors put there by code, and which kinds."""
    there: list[str | None] = []
    kinds: list[str | None] = []
    for sample in samples:
        defect = sample.metadata.defect_metadata
        errors = sorted({error.error for error in defect.planted}) if defect else []
        there.append(None if sample.neutral or defect is None else "yes" if errors else "no")
        kinds.append("several kinds" if len(errors) > 1 else errors[0] if errors else None)
    return {"planted error": there, "kind of planted error": kinds}


def _lengths(samples: Sequence[Sample]) -> list[str | None]:
    """Thirds of the responses by characters."""
    lengths = np.array([len(as_text(sample.response)) for sample in samples])
    low, high = (int(x) for x in np.quantile(lengths, [1 / 3, 2 / 3], method="lower"))
    names = (f"1: up to {low:,} characters", f"2: up to {high:,}", f"3: over {high:,}")
    return [names[0 if n <= low else 1 if n <= high else 2] for n in lengths]


def _longer(samples: Sequence[Sample]) -> list[str | None]:
    """Which side of its preference pair is longer: a reward that follows length shows here."""
    out: list[str | None] = [None] * len(samples)
    for chosen, rejected in pair_indices(samples):
        a, b = (len(as_text(samples[i].response)) for i in (chosen, rejected))
        value = "chosen" if a > b else "rejected" if b > a else "equal"
        out[chosen] = out[rejected] = value
    return out
