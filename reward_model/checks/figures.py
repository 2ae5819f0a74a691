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
    known: bool = True
    """Whether its scale is stated anywhere; an amount of unknown scale settles no mismatch."""
    row: tuple[int, int] = (0, 0)
    """Digest of its table, and the row in it: two figures of one row belong together."""
    column: str = ""
    """The header of its column."""
    shown: str = ""
    """The text of its cell."""
    of: str | None = None
    """Key of the item its column shows, for the row of a region, product or customer."""
    owner: str = ""
    """The company its section or column is about, where the prompt has several; the parent
    company's own figures beside consolidated ones have `PARENT`."""


PARENT = "母公司"
