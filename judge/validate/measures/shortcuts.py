"""The shortcut audit: can the sides be told apart without reading them, and by what.

Each pair is one vector: features of the chosen side minus those of the rejected side. A ridge
regression without intercept learns a direction on some groups; the AUC is the share of pairs in
the other groups that it ranks right, ties half. A leak is an AUC above 0.65 that swapping the
sides of whole groups at random reaches in at most one case in a hundred.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from judge.validate.measures import ngrams
from judge.validate.measures.style import STYLE, style
from judge.validate.report import Feature, Finding, Shortcut
from judge.validate.sample import SampledTexts, read_texts, sample_groups
from judge.validate.table import Table

LEAK = 0.65
CHANCE = 0.01
"""Four audits at one in a hundred accuse a clean set in at most 4% of cases."""
FEWEST_GROUPS = 10
FOLDS = 5
SWAPS = 999
_TIE = 1e-9

Floats = NDArray[np.float64]


def audit(
    table: Table, *, most: int, with_ngrams: bool, seed: int
) -> tuple[list[Shortcut], list[Finding]]:
    """Length, style, phrases and generator of a sample of pairs."""
    rows = sample_groups(table, most, seed)
    texts = read_texts(table, rows)
    parts = [_length(table, rows, seed), _style(table, texts, seed)]
    if with_ngrams:
        parts.append(_ngrams(table, texts, seed))
    parts.append(_generator(table, rows, seed))
    return parts, [_finding(part) for part in parts if part.result == "leak"]


def paired_auc(
    kernel: Floats, group: NDArray[np.int64], alpha: float, seed: int
) -> tuple[float, float]:
    """Share of held-out pairs ranked right, and its p-value by swapping sides of whole groups.

    Args:
        kernel: (n, n) products of the pairs' vectors, chosen minus rejected.
        group: (n,) pairs of one group are never on both sides of a split.
        alpha: ridge penalty.

    >>> x = np.linspace(1, 2, 40)
    >>> paired_auc(np.outer(x, x), np.arange(40), 1.0, 0)
    (1.0, 0.001)
    """
    hat = _held_out(kernel, group, alpha, seed)
    number, place = np.unique(group, return_inverse=True)
    rng = np.random.default_rng([seed, 2])
    swaps = rng.choice([-1.0, 1.0], size=(len(number), SWAPS))[place]
    auc = float(_ranked(np.ones((len(kernel), 1)), hat)[0])
    chance = _ranked(swaps, hat)
    return auc, float((1 + (chance >= auc - _TIE).sum()) / (SWAPS + 1))


def _ranked(signs: Floats, hat: Floats) -> Floats:
    """(B,) share ranked right when the sides are swapped where `signs` (n, B) is -1."""
    # Swapping a pair negates its vector and its label alike, so one hat matrix serves all swaps.
    agreement = signs * (hat @ signs)
    right = (agreement > _TIE) + 0.5 * (np.abs(agreement) <= _TIE)
    share: Floats = right.mean(axis=0)
    return share


def _held_out(kernel: Floats, group: NDArray[np.int64], alpha: float, seed: int) -> Floats:
    """(n, n) matrix H: H @ labels is each pair's prediction by a ridge that never saw its group."""
    from sklearn.model_selection import GroupKFold

    folds = GroupKFold(min(FOLDS, len(np.unique(group))), shuffle=True, random_state=seed)
    hat = np.zeros_like(kernel)
    for train, test in folds.split(kernel, groups=group):
        inner = kernel[np.ix_(train, train)] + alpha * np.eye(len(train))
        hat[np.ix_(test, train)] = np.linalg.solve(inner, kernel[np.ix_(train, test)]).T
    return hat


def _judge(
    name: str,
    kernel: Floats,
    group: NDArray[np.int64],
    features: list[Feature],
    seed: int,
    alpha: float = 1.0,
) -> Shortcut:
    groups = len(np.unique(group))
    if groups < FEWEST_GROUPS:
        return _unknown(name, len(kernel), groups, f"{groups} groups; it takes {FEWEST_GROUPS}")
    auc, p = paired_auc(kernel, group, alpha, seed)
    result, reason = "clean", f"AUC {auc:.2f} is not above {LEAK}"
    if auc > LEAK:
        result = "leak" if p <= CHANCE else "cannot tell"
        reason = f"AUC {auc:.2f}, p {p:.3f} over {groups} groups"
    return Shortcut.model_validate(
        {
            "name": name,
            "result": result,
            "reason": reason,
            "pairs": len(kernel),
            "groups": groups,
            "auc": auc,
            "p_value": p,
            "features": features,
        }
    )


def _unknown(name: str, pairs: int, groups: int, reason: str) -> Shortcut:
    return Shortcut(
        name=name,
        result="cannot tell",
        reason=reason,
        pairs=pairs,
        groups=groups,
        auc=None,
        p_value=None,
        features=[],
    )


def _kernel(x: Floats) -> Floats:
    """Products of rows, columns divided by their root mean square (swapping leaves it alone)."""
    size = np.sqrt((x**2).mean(axis=0))
    scaled = x / np.where(size > 0, size, 1.0)
    products: Floats = scaled @ scaled.T
    return products


def _feature(name: str, chosen: Floats, rejected: Floats, *, median: bool = False) -> Feature:
    middle = np.median if median else np.mean
    ranks = np.sign(chosen - rejected)
    return Feature(
        name=name,
        chosen=float(middle(chosen)) if len(chosen) else None,
        rejected=float(middle(rejected)) if len(rejected) else None,
        auc=float(((ranks + 1) / 2).mean()) if len(ranks) else None,
    )


def _strongest(features: list[Feature], most: int = 5) -> list[Feature]:
    order = sorted(features, key=lambda f: -abs((f.auc if f.auc is not None else 0.5) - 0.5))
    return order[:most]


def _length(table: Table, rows: NDArray[np.int64], seed: int) -> Shortcut:
    sides = table.length[rows].astype(np.float64)
    x = np.log1p(sides[:, :1]) - np.log1p(sides[:, 1:])
    feature = _feature("characters", sides[:, 0], sides[:, 1], median=True)
    return _judge("length", _kernel(x), table.group[rows], [feature], seed)


def _style(table: Table, texts: SampledTexts, seed: int) -> Shortcut:
    shape = (-1, len(STYLE))
    chosen, rejected = (
        np.array([style(t) for t in side], np.float64).reshape(shape)
        for side in (texts.chosen, texts.rejected)
    )
    features = [_feature(n, chosen[:, i], rejected[:, i]) for i, n in enumerate(STYLE)]
    # Roots keep one report full of tables from drowning the others.
    kernel = _kernel(np.sqrt(chosen) - np.sqrt(rejected))
    return _judge("style", kernel, table.group[texts.rows], _strongest(features), seed)


def _ngrams(table: Table, texts: SampledTexts, seed: int) -> Shortcut:
    group = table.group[texts.rows]
    groups = len(np.unique(group))
    if groups < FEWEST_GROUPS:
        return _judge("phrases", np.zeros((len(group), len(group))), group, [], seed)
    texts = ngrams.normalised(texts)
    matrix, vocabulary = ngrams.differences(texts)
    if not vocabulary:
        return _unknown("phrases", len(group), groups, "no sequence stands on one side only often")
    kernel = np.asarray((matrix @ matrix.T).todense(), np.float64)
    alpha = float(np.trace(kernel)) / len(kernel)
    features = ngrams.phrases(texts, matrix, vocabulary, 6)
    part = _judge("phrases", kernel, group, features, seed, alpha)
    stock = [f for f in features if ngrams.one_sided(texts, group, f.name)]
    if part.result == "clean" and stock:
        # Too few texts hold the phrase to lift the AUC, yet in those it settles the question.
        name = ngrams.shown(stock[0].name)
        reason = f"AUC {part.auc:.2f}, but “{name}” stands on one side only"
        part = part.model_copy(update={"result": "leak", "reason": reason, "features": stock})
    named = [f.model_copy(update={"name": ngrams.shown(f.name)}) for f in part.features]
    return part.model_copy(update={"features": named})


def _generator(table: Table, rows: NDArray[np.int64], seed: int) -> Shortcut:
    known = rows[(table.generator[rows] >= 0).all(axis=1)]
    groups = len(np.unique(table.group[known]))
    if not len(known):
        return _unknown("generator", 0, 0, "no model or temperature is recorded")
    settings = [
        {f"{key} {value}" for key, value in made._asdict().items() if value is not None}
        for made in table.generators
    ]
    names = sorted(set().union(*settings))
    has = np.array([[n in own for n in names] for own in settings], np.float64)
    chosen, rejected = (has[table.generator[known, side]] for side in (0, 1))
    x = chosen - rejected
    features = [_feature(n, chosen[:, i], rejected[:, i]) for i, n in enumerate(names)]
    if not x.any():
        return Shortcut(
            name="generator",
            result="clean",
            reason="both sides of every pair have the same model and settings",
            pairs=len(known),
            groups=groups,
            auc=0.5,
            p_value=1.0,
            features=_strongest(features),
        )
    return _judge("generator", x @ x.T, table.group[known], _strongest(features), seed)


_MEND = {
    "length": "ask the degradation for the same length (length_ratio in the rubric), add neutral "
    "rewrites that change length only, or filter with --max-length-ratio",
    "style": "make degradations as edits that keep the layout, and pass the good side through a "
    "neutral edit by the same editor",
    "phrases": "if these phrases are what a degradation is meant to change, this is its trace; if "
    "not, strip them, or vary the instruction that brings them in",
    "generator": "make both sides with the same model and temperature",
}


def _finding(part: Shortcut) -> Finding:
    def value(number: float | None) -> str:
        if number is None:
            return "–"
        shares = part.name in {"phrases", "generator"}
        return f"{number:.0%}" if shares else f"{number:,.0f}" if number >= 100 else f"{number:.1f}"

    telling = [f for f in part.features if f.auc is not None and abs(f.auc - 0.5) >= 0.1]
    words = "; ".join(
        f"{'“' + f.name + '”' if part.name == 'phrases' else f.name}: chosen {value(f.chosen)}, "
        f"rejected {value(f.rejected)}"
        for f in (telling or part.features)[:4]
    )
    return Finding(
        code=f"{part.name}_leak",
        level="warning",
        message=f"phrases alone tell the sides apart in {part.auc:.0%} of held-out pairs ({words})"
        if part.name == "phrases"
        else f"{part.name} alone tells the sides apart in {part.auc:.0%} of held-out pairs "
        f"({words})",
        advice=_MEND[part.name],
        cell={"shortcut": part.name},
        numbers={"auc": part.auc, "p_value": part.p_value, "groups": part.groups},
    )
