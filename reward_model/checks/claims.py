"""Numeric claims of a report: which number is said of which item, period and comparison."""

from __future__ import annotations

from dataclasses import dataclass

from reward_model.checks.columns import Scope
from reward_model.checks.kinds import Basis, ClaimKind, Combine, Direction, Hedge, Source
from reward_model.checks.periods import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One number of a report with what is said about it."""

    start: int
    """Offset of the number in the report, sign, bracket and currency included."""
    end: int
    """Offset after it, unit included."""
    text: str
    """`report[start:end]`."""
    value: float
    """In base units: yuan or dollars; percentages and points as fractions. Signed by the
    direction word: `下降 14.7%` is -0.147."""
    decimals: int
    """Digits shown after the point."""
    step: float
    """One unit of the last decimal place shown, in base units."""
    unit: str
    """`money`, `percent`, `pp`, `times`, `days` or `plain` (none shown)."""
    item: str | None
    """Key of the statement line or ratio; None where the label is not a known one."""
    label: str
    """The label as found, empty where none was."""
    period: Period | None
    """The period it is about; None where the text names none."""
    kind: ClaimKind
    """What the number measures."""
    direction: Direction = None
    """The direction the words around it give."""
    basis: Basis = ""
    """What a change is measured against; `budget` for degrees of attainment."""
    base: Period | None = None
    """The period compared with, where it is named."""
    scope: Scope = ""
    """The column it must come from, where the words say so."""
    per: str | None = None
    """Key of the denominator, for `R&D is 3.2% of revenue`."""
    entity: str | None = None
    """The customer, region or unknown row label it is about."""
    source: Source = ""
    """Where the period was found: the nearer, the surer."""
    hedge: Hedge = ""
    """A word that makes the number approximate."""
    doubt: str = ""
    """Why the link is not certain; empty for a firm link. A doubtful claim is never `wrong`."""
    cell: bool = False
    """Whether it stands in a table."""
    combine: Combine = ""
    """`average` or `sum` of the label, over the periods from `base` to `period`, or with another
    label (`with_label`) in one period."""
    with_label: str | None = None
    """Key of the second label of a sum; a row's begins with `@`."""
    column: str = ""
    """The header of its column, for a cell."""
    shown: str = ""
    """The whole text of its cell."""
    open_scale: bool = False
    """Whether it is an amount in a table that states no unit: it may be in any usual one."""
    sign: str = ""
    """`+`, `-`, `(` or empty, as shown."""

    @property
    def firm(self) -> bool:
        """Whether item, kind and reading are certain."""
        return not self.doubt
