"""`judge agree`: how far scorings of the same pairs agree, dimension by dimension.

Files are matched by pair; both sides of a pair are units. One file alone is compared with itself
where it keeps several draws or several judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from judge.scoring.rows import Item, item_of
from reward_model.records import (
    SIDES,
    UserError,
    check_outputs,
    read_jsonl,
    write_result,
)
from reward_model.records.terminal import console
from reward_model.rubrics import Rubric, load_rubric
from reward_model.stats.agreement import (
    MISSING,
    Statistic,
    alpha,
    bias,
    coincidences,
    confusions,
    estimates,
    kappa,
    within,
)
from reward_model.stats.bootstrap import Estimate

Unit = tuple[str, int, str]
"""Key of a pair, which of the pairs of that key, side."""


class Rater:
    """One scoring: levels by unit and dimension."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.levels: dict[Unit, dict[str, int | None]] = {}


def agree_files(
    files: Sequence[Path],
    rubric_name: str,
    *,
    json_out: Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> None:
    """Compare scorings; a table for people, and the numbers for programs.

    Raises:
        UserError: files that cannot be read or have nothing in common.
    """
    check_outputs({"--json": json_out}, (*files, rubric_name))
    rubric = load_rubric(rubric_name)
    groups: dict[Unit, str] = {}
    raters = [rater for path in files for rater in _read(path, rubric, groups, len(files) == 1)]
    if len(raters) < 2:
        raise UserError(
            "one scoring only",
            expected="two files, or one scored with several --samples or --llm",
            path=files[0],
        )
    for rater in raters:
        others = {u for r in raters if r is not rater for u in r.levels}
        if others.isdisjoint(rater.levels):
            raise UserError(
                "no row that another file has",
                expected="scorings of the same rows",
                mend="rows are matched by id, or by their texts where they have none",
                path=Path(rater.name),
            )
    report = compare(raters, groups, rubric, resamples=resamples, seed=seed)
    write_result(report, json_out)
    _show(report, rubric)


def _read(path: Path, rubric: Rubric, groups: dict[Unit, str], inside: bool) -> list[Rater]:
    raters: dict[str, Rater] = {} if inside else {str(path): Rater(str(path))}
    seen: Counter[str] = Counter()
    scored = False
    for line in read_jsonl(path):
        where: dict[str, Any] = {"path": path, "line": line.number}
        item = item_of(line.value, **where)
        number = seen[item.key]
        seen[item.key] += 1
        if not item.scored:
            continue
        scored = True
        levels, draws = _levels(line.value, item, where), _draws(line.value, item)
        for slot in item.slots:
            unit = (item.key, number, slot)
            groups[unit] = item.group
            place = "scores" if item.form == "single" else f"scores.{slot}"
            if not inside:
                rubric.check_levels(levels[slot], where=place, **where)
                raters[str(path)].levels[unit] = dict(levels[slot])
                continue
            for judge, by_slot in draws.items():
                for name, given in by_slot.get(slot, {}).items():
                    for draw, level in enumerate(given, 1):
                        rubric.check_levels({name: level}, where=place, **where)
                        who = f"{judge} #{draw}" if len(given) > 1 else judge
                        rater = raters.setdefault(who, Rater(who))
                        rater.levels.setdefault(unit, {})[name] = level
    if not scored:
        raise UserError("no scores", expected="scored rows", mend="run judge score", path=path)
    return list(raters.values())


def _levels(
    value: Mapping[str, Any], item: Item, where: Mapping[str, Any]
) -> dict[str, Mapping[str, int | None]]:
    """Levels of the texts of a row, by slot."""
    if item.pair is not None and item.pair.scores is not None:
        scores = item.pair.scores
        return {side: scores.side(side) for side in SIDES}
    found = _by_slot(value.get("scores"), item)
    for slot in item.slots:
        levels = found.get(slot)
        if not isinstance(levels, Mapping) or not all(map(_is_level, levels.values())):
            raise UserError(
                f"no levels of {slot} in scores",
                expected="what judge score writes: a level or null by dimension",
                **where,
            )
    return found


def _draws(value: Mapping[str, Any], item: Item) -> dict[str, dict[str, Any]]:
    """Every draw by judge, slot and dimension."""
    if item.pair is not None and item.pair.scores is not None:
        judge = item.pair.scores.judge
        kept: dict[str, dict[str, Any]] = (
            (judge.model_extra or {}).get("levels", {}) if judge else {}
        )
        return kept
    about = value.get("judge")
    own = about.get("levels") if isinstance(about, dict) else None
    return {name: _by_slot(one, item) for name, one in (own or {}).items()}


def _by_slot(told: Any, item: Item) -> dict[str, Any]:
    if item.form == "single":
        return dict.fromkeys(item.slots, told)
    if item.form == "list":
        return dict(zip(item.slots, told, strict=False)) if isinstance(told, list) else {}
    return told if isinstance(told, dict) else {}


def _is_level(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def compare(
    raters: Sequence[Rater], groups: dict[Unit, str], rubric: Rubric, *, resamples: int, seed: int
) -> dict[str, Any]:
    """Agreement of raters as plain data: alpha of all, kappa and confusion of each two."""
    units = list(groups)
    numbers = {name: i for i, name in enumerate(dict.fromkeys(groups.values()))}
    group = np.array([numbers[groups[unit]] for unit in units], dtype=np.int64)
    dimensions: dict[str, Any] = {}
    for name in rubric.names:
        ratings = np.array([_ratings(rater, units, name) for rater in raters], dtype=np.int64)
        together = coincidences(ratings, rubric.classes)
        options: dict[str, Any] = {"resamples": resamples, "seed": seed}
        found = estimates(together, group, {"alpha": Statistic(alpha)}, **options)
        pairs = []
        for (i, first), (j, second) in combinations(enumerate(raters), 2):
            tables = confusions(ratings[i], ratings[j], rubric.classes)
            statistics = {
                "kappa": Statistic(kappa),
                "exact": Statistic(lambda table: within(table, 0), (0.0, 1.0), share=True),
                "within_one": Statistic(lambda table: within(table, 1), (0.0, 1.0), share=True),
                "bias": Statistic(bias, (-float(rubric.scale), float(rubric.scale))),
            }
            pairs.append(
                {
                    "a": first.name,
                    "b": second.name,
                    "units": int(tables.sum()),
                    **_plain(estimates(tables, group, statistics, **options)),
                    "confusion": tables.sum(0).astype(int).tolist(),
                }
            )
        dimensions[name] = {
            "units": int((together.sum((1, 2)) > 0).sum()),
            "missing": {r.name: int((ratings[i] == MISSING).sum()) for i, r in enumerate(raters)},
            **_plain(found),
            "pairs": pairs,
        }
    return {
        "version": 1,
        "rubric": rubric.id,
        "raters": [rater.name for rater in raters],
        "units": len(units),
        "groups": len(numbers),
        "resamples": resamples,
        "seed": seed,
        "dimensions": dimensions,
    }


def _ratings(rater: Rater, units: Sequence[Unit], dimension: str) -> list[int]:
    found = (rater.levels.get(unit, {}).get(dimension) for unit in units)
    return [MISSING if level is None else level for level in found]


def _plain(found: dict[str, Estimate]) -> dict[str, Any]:
    return {
        name: {"value": e.value, "interval": None if e.low is None else [e.low, e.high]}
        for name, e in found.items()
    }


def _show(report: dict[str, Any], rubric: Rubric) -> None:
    from functools import partial

    from rich.table import Table

    table = partial(Table, box=None, padding=(0, 2, 0, 0), title_justify="left")
    out = console()
    names = {
        name: chr(ord("A") + i) if i < 26 else f"R{i}" for i, name in enumerate(report["raters"])
    }
    for name, letter in names.items():
        out.print(f"{letter} = {name}", markup=False)
    out.print(
        f"{report['units']} units (sides of pairs, answers) in {report['groups']} groups; "
        f"intervals of 95% from {report['resamples']} resamples of groups",
        markup=False,
    )
    together = table("dimension", "units", "alpha, ordinal")
    heads = ("dimension", "raters", "units", "kappa, quadratic", "exact", "within 1", "bias")
    pairs = table(*heads)
    for name, found in report["dimensions"].items():
        together.add_row(name, str(found["units"]), _cell(found["alpha"]))
        for pair in found["pairs"]:
            rest = [_cell({**pair[key], "interval": None}) for key in ("exact", "within_one")]
            who = f"{names[pair['a']]} {names[pair['b']]}"
            bias_cell = _cell({**pair["bias"], "interval": None})
            pairs.add_row(name, who, str(pair["units"]), _cell(pair["kappa"]), *rest, bias_cell)
    for part in (together, pairs):
        out.print()
        out.print(part)
    if len(names) == 2:
        for name, found in report["dimensions"].items():
            levels = [str(level) for level in range(rubric.classes)]
            grid = table("A \\ B", *levels, title=f"{name}: units by level")
            for level, row in zip(levels, found["pairs"][0]["confusion"], strict=True):
                grid.add_row(level, *(str(count) if count else "·" for count in row))
            out.print()
            out.print(grid)


def _cell(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "undefined"
    if estimate["interval"] is None:
        return f"{estimate['value']:.3f}"
    low, high = estimate["interval"]
    return f"{estimate['value']:.3f} ({low:.2f}..{high:.2f})"
