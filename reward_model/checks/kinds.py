"""The small vocabularies that claims, readings and verdicts share."""

from typing import Literal

ClaimKind = Literal["value", "ratio", "change_pct", "change_pp", "change_abs"]
Basis = Literal["", "yoy", "mom", "opening", "base", "budget"]
Source = Literal["", "clause", "sentence", "heading", "report"]
Direction = Literal["up", "down"] | None
Combine = Literal["", "average", "sum"]
Hedge = Literal["", "about", "over", "under"]

NOT_A_FACT = "not stated as a fact"
"""The doubt of targets, forecasts and conditions: these are not checked at all."""
STOOD_BEFORE = "where it stood before, without a period"
"""The doubt of `from 40%` where neither number says of when it is."""
OF_THE_SHARE = "points of the share before it"
"""The doubt of `7% of revenue, up 1 point`: the point is one of the share."""
NOT_WHOLE = "the sentence is not understood whole"
"""The doubt of a number in a sentence with words or an order of words that are on no list."""
ANOTHER = (
    "under a heading about ",
    "the line is about ",
    "may be about ",
    "row ",
    "of which company ",
    "several companies ",
)
"""How doubts begin that somebody else may be meant than the company: a number that agrees with the
company's own then agrees by accident, and is not verified."""
