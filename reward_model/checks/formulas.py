"""Formulas of derived items: parsed once, evaluated against whatever looks up the lines."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import cache

Lookup = Callable[[str, bool], float | None]
"""From an item key, and whether its average balance is meant, to a value; None where unknown."""

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@cache
def _parse(formula: str) -> ast.expr:
    return ast.parse(formula, mode="eval").body


@cache
def names_in(formula: str) -> frozenset[str]:
    """The item keys a formula uses.

    >>> sorted(names_in("net_profit / avg(equity)"))
    ['equity', 'net_profit']
    """
    nodes = ast.walk(_parse(formula))
    return frozenset(n.id for n in nodes if isinstance(n, ast.Name)) - {"avg", "days"}


def evaluate(formula: str, lookup: Lookup) -> float | None:
    """The value, or None where a line is missing or a division is by zero.

    >>> evaluate("(revenue - cost) / revenue", lambda k, _: {"revenue": 10.0, "cost": 4.0}[k])
    0.6
    """

    def walk(node: ast.expr) -> float | None:
        if isinstance(node, ast.Name):
            return lookup(node.id, False)
        if isinstance(node, ast.Call) and isinstance(node.args[0], ast.Name):
            return lookup(node.args[0].id, True)
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return float(node.value)
        if isinstance(node, ast.BinOp):
            left, right = walk(node.left), walk(node.right)
            if left is None or right is None:
                return None
            if isinstance(node.op, ast.Div) and right == 0:
                return None
            return _OPERATORS[type(node.op)](left, right)
        raise ValueError(f"formula {formula!r}: {ast.unparse(node)!r} is not supported")

    return walk(_parse(formula))
