"""Every number on real scored pairs equals one computed another way, with pandas and friends."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from judge.validate.measures.style import STYLE, style
from judge.validate.report import Report
from judge.validate.run import Settings, build
from judge.validate.table import Table
from reward_model.rubrics import load_rubric

SETS = [("finreport_pairs_0to4.jsonl", "financial_report"), ("helpsteer_pairs.jsonl", "helpsteer")]


class Given:
    """A real set, our report of it, and a data frame made without our code."""

    def __init__(self, path: Path, rubric: str) -> None:
        self.rubric = load_rubric(rubric)
        self.report, self.table = build(path, Settings(rubric=rubric, ngrams=False))
        self.rows: list[dict[str, Any]] = [
            json.loads(line) for line in path.read_text("utf-8").splitlines()
        ]
        levels = pd.DataFrame(
            {
                (side, name): [row["scores"][side][name] for row in self.rows]
                for side in ("chosen", "rejected")
                for name in self.rubric.names
            }
        )
        self.chosen, self.rejected = levels["chosen"], levels["rejected"]
        self.gaps = self.chosen - self.rejected
        prompts = pd.Series([row["prompt"] for row in self.rows])
        self.group = prompts.factorize()[0]


@pytest.fixture(scope="module", params=SETS, ids=[name for _, name in SETS])
def given(request: pytest.FixtureRequest, real_data: Path) -> Given:
    return Given(real_data / request.param[0], request.param[1])


def same(ours: float | None, theirs: float) -> None:
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_gaps(given: Given) -> None:
    report = given.report
    columns = {"all": (report.gap, given.gaps.mean(axis=1))}
    columns |= {n: (report.dimensions[n], given.gaps[n]) for n in given.rubric.names}
    for ours, theirs in columns.values():
        assert ours.pairs == theirs.count()
        same(ours.mean, theirs.mean())
        same(ours.median, theirs.median())
        same(ours.min, theirs.min())
        same(ours.max, theirs.max())
        same(ours.sd, theirs.std())
        assert (ours.positive, ours.negative) == ((theirs > 0).sum(), (theirs < 0).sum())
        assert ours.zero == (theirs == 0).sum()
        same(ours.positive_share, (theirs > 0).mean())


def test_labels(given: Given) -> None:
    levels = range(given.rubric.classes)
    for name, part in given.report.labels.items():
        for ours, side in ((part.chosen, given.chosen), (part.rejected, given.rejected)):
            counts = side[name].value_counts()
            assert ours == [counts.get(level, 0) for level in levels]
        assert part.chosen_missing == part.rejected_missing == 0


def test_verdict(given: Given) -> None:
    mean, share = given.gaps.mean(axis=1).mean(), (given.gaps.mean(axis=1) > 0).mean()
    grades = [("excellent", 1.5, 0.95), ("good", 1.0, 0.90), ("fair", 0.5, 0.85)]
    expected = next((g for g, m, s in grades if mean >= m and share >= s), "poor")
    assert given.report.verdict.grade == expected


def test_problem_pairs(given: Given) -> None:
    mean = given.gaps.mean(axis=1)
    expected = set(np.flatnonzero(mean < 0.5) + 1)
    for i, row in enumerate(given.rows):
        title = row.get("metadata", {}).get("defect_metadata", {}).get("degradation_type")
        targets = given.rubric.degradation(title).targets if title else ()
        if any(given.gaps[t][i] < 0 for t in targets):
            expected.add(i + 1)
    assert {p.line for p in given.report.problems.listed} == expected
    assert given.report.problems.pairs == len(expected)


def test_specificity(given: Given) -> None:
    names = [
        row.get("metadata", {}).get("defect_metadata", {}).get("degradation_type")
        for row in given.rows
    ]
    names = [given.rubric.degradation(n).name if n else None for n in names]
    by_name = given.gaps.groupby(pd.Series(names, dtype=object)).mean()
    assert {row.name for row in given.report.specificity} == set(by_name.index)
    for row in given.report.specificity:
        assert row.pairs == names.count(row.name)
        for dimension, cell in row.cells.items():
            same(cell.mean, by_name.loc[row.name, dimension])
            if cell.low is not None and cell.high is not None and cell.mean is not None:
                assert cell.low <= cell.mean <= cell.high


def test_interval_agrees_with_scipy(real_data: Path) -> None:
    given = Given(real_data / "finreport_pairs_0to4.jsonl", "financial_report")
    row = next(r for r in given.report.specificity if r.name == "shallow_depth")
    members = [
        r["metadata"]["defect_metadata"]["degradation_type"] == "浅化深度" for r in given.rows
    ]
    values = given.gaps["accuracy"][members].to_numpy(float)
    # Every prompt is its own group here, and they are few: Student's interval over rows.
    low, high = scipy_stats.t.interval(
        0.95, len(values) - 1, values.mean(), scipy_stats.sem(values)
    )
    cell = row.cells["accuracy"]
    assert cell.groups == len(values) < 10
    assert cell.low == pytest.approx(low, abs=0.05)
    assert cell.high == pytest.approx(high, abs=0.05)


def test_halo(given: Given) -> None:
    centred = pd.concat(
        [given.chosen - given.chosen.mean(), given.rejected - given.rejected.mean()]
    )
    matrix = centred.corr()
    for a, b in combinations(given.rubric.names, 2):
        same(given.report.halo.correlations[f"{a}/{b}"], matrix.loc[a, b])
    both = pd.concat([given.chosen, given.rejected])
    same(given.report.halo.all_equal_share, (both.nunique(axis=1) == 1).mean())


def test_clustering(given: Given) -> None:
    both = pd.concat([given.chosen, given.rejected])
    for name, part in given.report.clustering.items():
        shares = both[name].value_counts(normalize=True)
        same(part.share, shares.max())
        same(part.rejected_share, given.rejected[name].value_counts(normalize=True).max())
        assert part.unused == sorted(set(range(given.rubric.classes)) - set(both[name]))


def paired_auc(x: np.ndarray, group: np.ndarray) -> float:
    """Both orders of each training pair through scikit-learn's ridge, held-out pairs ranked."""
    x = x / np.sqrt((x**2).mean(axis=0))
    right = np.zeros(len(x))
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(x, groups=group):
        doubled = np.vstack([x[train], -x[train]])
        target = np.repeat([1.0, -1.0], len(train))
        # Twice the rows, twice the penalty: the same solution.
        score = Ridge(alpha=2.0, fit_intercept=False).fit(doubled, target).predict(x[test])
        right[test] = (score > 1e-9) + 0.5 * (np.abs(score) <= 1e-9)
    return float(right.mean())


def test_length_and_style_audit(given: Given) -> None:
    parts = {part.name: part for part in given.report.shortcuts}
    chosen = [row["chosen"] for row in given.rows]
    rejected = [row["rejected"] for row in given.rows]
    sizes = np.array([[len(a), len(b)] for a, b in zip(chosen, rejected, strict=True)], float)
    x = np.log1p(sizes[:, :1]) - np.log1p(sizes[:, 1:])
    same(parts["length"].auc, paired_auc(x, given.group))
    same(parts["length"].features[0].chosen, np.median(sizes[:, 0]))
    looks = [np.sqrt([style(t) for t in side]) for side in (chosen, rejected)]
    x = looks[0] - looks[1]
    x = x[:, (x != 0).any(axis=0)]
    same(parts["style"].auc, paired_auc(x, given.group))
    assert len(STYLE) >= x.shape[1]


def test_counts(given: Given) -> None:
    source = given.report.source
    assert source.pairs == source.scored == len(given.rows)
    assert source.groups == len(set(given.group))
    assert given.report.missing.share == 0


def test_one_company_under_many_prompts(real_data: Path) -> None:
    """All fifteen prompts carry the tables of one company: a split by prompt leaks."""
    report = Given(real_data / "finreport_pairs_0to4.jsonl", "financial_report").report
    assert report.source.groups == 15
    assert report.duplicates.independent_groups == 1
    assert (report.duplicates.linked_prompts_share or 0) > 0.95
    [finding] = [f for f in report.findings if f.code == "linked_prompts"]
    assert "15 of 15 prompts" in finding.message
    assert "any split by prompt leaks" in finding.advice


def test_known_faults_of_the_real_set_are_named(real_data: Path) -> None:
    path = real_data / "finreport_pairs_0to4.jsonl"
    report, table = build(path, Settings())
    assert isinstance(report, Report)
    assert isinstance(table, Table)
    by_code = {f.code: f for f in report.findings}
    assert "temperature 0.3: chosen 100%, rejected 0%" in by_code["generator_leak"].message
    assert "characters: chosen 4,579, rejected 2,078" in by_code["length_leak"].message
    assert "100% of rejected levels are 2" in by_code["constant_side"].message
