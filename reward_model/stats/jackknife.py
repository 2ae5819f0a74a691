"""How far a number of a few texts may be off: groups left out a block at a time.

`standard_error(measure, groups)` takes a few dozen measurements whatever the number of rows, for
choices made while training; what is reported has the intervals of `bootstrap`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reward_model.stats.bootstrap import Ints

BLOCKS = 40
"""Parts that the groups are dealt into."""


def standard_error(measure: Callable[[Ints], float], groups: Ints) -> float:
    """By the grouped jackknife (Efron & Tibshirani 1993, chapter 11).

    Args:
        measure: a number of some rows; NaN where they have none.
        groups: [n] group of each row, from 0.

    Returns:
        0 where there are too few groups to tell.

    >>> values = np.arange(30.0)
    >>> error = standard_error(lambda rows: values[rows].mean(), np.arange(30))
    >>> bool(np.isclose(error, values.std(ddof=1) / 30**0.5))
    True
    """
    block = groups % BLOCKS
    known = [measure(np.flatnonzero(block != one)) for one in np.unique(block)]
    known = [value for value in known if np.isfinite(value)]
    return float(np.sqrt((len(known) - 1) * np.var(known))) if len(known) > 1 else 0.0


__all__ = ["standard_error"]
