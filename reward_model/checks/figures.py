"""One number of a table, with all that says what it is."""

from __future__ import annotations

from typing import NamedTuple

from reward_model.checks.columns import Measure, Scope
from reward_model.checks.periods import Period


class Figure(NamedTuple):
    """One number of a table."""

    item: str | None
    """Key of the statement line; None when the label is not a known one."""
    label: str
    """The row label (or heading) as written, without numbering and brackets."""
    period: Period | None
    """The period the table gives for it; None when it gives none."""
    value: float
    """In base units: yuan or dollars; percentages as fractions (0.147 for 14.7%)."""
    unit: str
    """`money`, `percent`, `times`, `days`, `per_share` or `plain`."""
    measure: Measure
    """`value`, or a change the table itself states (`yoy`, `mom`, ... as fractions)."""
    scope: Scope
    """`period`, `ytd`, `closing`, `opening`, `budget`, `benchmark`, or empty."""
    step: float
    """One unit of the last decimal place shown, in base units."""
    where: str
    """Heading, column and place, for people."""
