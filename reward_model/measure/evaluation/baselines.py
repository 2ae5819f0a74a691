"""What an engineer would use instead of a model, measured on the same rows by the same numbers.

`predict_all(train, test, classes=5)` fits majority, length only and TF-IDF + logistic regression on
the training groups and returns probabilities [n, D, K] for the test rows, as a model would, with
what a reader has to know of how they were fitted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reward_model.records import IGNORE
from reward_model.stats.bootstrap import Floats, Ints
from reward_model.stats.levels import level_weights
from reward_model.stats.metrics import kappa_of

TITLES = {
    "majority": "majority level",
    "length": "length only",
    "tfidf": "TF-IDF + logistic regression",
}
_SPACELESS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han."""
_MARKS = (
    r"\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    r"\u0900-\u0963\u0970-\u0dff"
)
"""Accents, points and vowel signs, which belong to the letter before them."""
WORDS = rf"\d+(?:[.,]\d+)*[%％]?|(?:(?![{_SPACELESS}\d_])[\w{_MARKS}])+|[{_SPACELESS}]"
"""Whole numbers, whole words of any script with spaces, and single characters of scripts without:
one- and two-grams of these are words and word pairs in English or Russian, characters and character
pairs in Chinese."""
PENALTIES = (0.3, 3.0, 30.0, 300.0)
"""Values of scikit-learn's C, from a strong penalty to a weak one."""
USUAL = 3.0
"""C where the training groups are too few to choose one."""
_FEATURES = 50_000
_FOLDS = 3
_CHOSEN_ON = 1500
"""Most texts that C is chosen on; the fit takes all."""


@dataclass(frozen=True)
class MeasuredTexts:
    """Texts with what is known of them."""

    texts: Sequence[str]
    """The response of each sample, after what the model is told of it as evidence."""
    characters: Sequence[int]
    """Length of the response."""
    tokens: Sequence[int]
    """Length of the response in the model's tokens."""
    labels: Ints
    """[n, D] levels, `IGNORE` where nobody scored."""
    groups: Sequence[str]
    """What is held out together where C is chosen."""

    def take(self, rows: Sequence[int]) -> MeasuredTexts:
        """Some of them."""
        return MeasuredTexts(
            [self.texts[i] for i in rows],
            [self.characters[i] for i in rows],
            [self.tokens[i] for i in rows],
            self.labels[list(rows)],
            [self.groups[i] for i in rows],
        )


@dataclass(frozen=True)
class Fitted:
    """What the baselines say of the test rows, and what is to be said of them."""

    chances: dict[str, Floats]
    """Name -> probabilities [n, D, K]; those that could not be fitted are left out."""
    notes: list[str]
    """Sentences: what could not be fitted and why, and how the others were."""


def predict_all(
    train: MeasuredTexts,
    test: MeasuredTexts,
    *,
    names: Sequence[str],
    classes: int,
    power: float = 0.0,
    seed: int = 0,
) -> Fitted:
    """Every baseline for `test`, fitted on `train`.

    Args:
        train: what is learned from.
        test: what is asked.
        names: of the dimensions.
        classes: levels of the scale.
        power: a text weighs `1 / count ** power` of its level, as in the training of the model.
        seed: of the texts that C is chosen on.
    """
    chances = {
        "majority": majority(train, test, classes),
        "length": length_only(train, test, classes),
    }
    found, notes = tfidf(train, test, names, classes, power, seed)
    notes += [
        f"{name}: {_few_levels(train.labels[:, j])} in the training texts, which is all that the "
        "baselines can say"
        for j, name in enumerate(names)
        if _few_levels(train.labels[:, j])
    ]
    return Fitted(chances if found is None else chances | {"tfidf": found}, notes)


def _few_levels(column: Ints) -> str | None:
    levels = np.unique(column[column != IGNORE])
    return None if len(levels) > 1 else f"only level {levels[0]}" if len(levels) else "no label"


def majority(train: MeasuredTexts, test: MeasuredTexts, classes: int) -> Floats:
    """The frequencies of the training levels for everyone; its best guess is the commonest level.

    A dimension nobody labelled in training gets equal chances for every level.
    """
    out = np.empty((len(test.texts), train.labels.shape[1], classes))
    for j in range(train.labels.shape[1]):
        level = train.labels[train.labels[:, j] != IGNORE, j]
        counts = np.bincount(level, minlength=classes) if len(level) else np.ones(classes)
        out[:, j] = counts / counts.sum()
    return out


def length_only(train: MeasuredTexts, test: MeasuredTexts, classes: int) -> Floats:
    """Ordinal logistic regression on log characters and log tokens of the response.

    One binary regression a threshold, P(level > k), so that the order of the levels is used.
    """

    def features(samples: MeasuredTexts) -> Floats:
        return np.log1p(np.stack([samples.characters, samples.tokens], 1).astype(np.float64))

    return _by_dimension(train, test, classes, features, lambda x, y, z: _ordinal(x, y, z, classes))


def tfidf(
    train: MeasuredTexts,
    test: MeasuredTexts,
    names: Sequence[str],
    classes: int,
    power: float = 0.0,
    seed: int = 0,
) -> tuple[Floats | None, list[str]]:
    """Multinomial logistic regression a dimension on one- and two-grams of the text.

    C is the one of `PENALTIES` with the highest quadratic weighted kappa on groups left out.

    Returns:
        Probabilities [n, D, K], or None where there is nothing to learn from; and notes.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        token_pattern=WORDS,
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=2 if len(train.texts) >= 20 else 1,
        max_features=_FEATURES,
        dtype=np.float32,
    )
    try:
        known = vectorizer.fit_transform(train.texts)
    except ValueError:
        return None, [
            "TF-IDF cannot be fitted: no word of the training texts occurs in two of them"
        ]
    asked = vectorizer.transform(test.texts)
    place = {group: i for i, group in enumerate(dict.fromkeys(train.groups))}
    groups = np.array([place[group] for group in train.groups])
    chosen: list[str] = []
    notes: list[str] = []
    out = majority(train, test, classes)
    for j, name in enumerate(names):
        rows = np.flatnonzero(train.labels[:, j] != IGNORE)
        level = train.labels[rows, j]
        if len(np.unique(level)) < 2 or not len(test.texts):
            continue
        penalty = _choose(known[rows], level, groups[rows], classes, power, seed)
        if penalty is None:
            notes.append(
                f"{name}: C of TF-IDF stays at {USUAL:g}, as the training groups are too few to "
                "choose one on"
            )
        else:
            chosen.append(f"{name} {penalty:g}")
        fitted = _regression(known[rows], level, USUAL if penalty is None else penalty, power)
        if fitted.n_iter_.max() >= fitted.max_iter:
            notes.append(f"{name}: the regression of TF-IDF stopped before its optimum")
        out[:, j] = _chances(fitted, asked, classes)
    if chosen:
        notes.insert(0, f"C of TF-IDF by grouped cross-validation on QWK: {', '.join(chosen)}")
    return out, notes


def _choose(
    x: Any, level: Ints, groups: Ints, classes: int, power: float, seed: int
) -> float | None:
    """The C with the highest kappa on groups left out; the strongest penalty of equals."""
    from sklearn.model_selection import GroupKFold

    order = np.random.default_rng(seed).permutation(groups.max() + 1)
    # Whole groups, in an order by chance, until there are texts enough.
    rows = np.argsort(order[groups], kind="stable")[:_CHOSEN_ON]
    x, level, groups = x[rows], level[rows], groups[rows]
    if len(np.unique(groups)) < 2 * _FOLDS:
        return None
    said = np.full((len(PENALTIES), len(level)), -1)
    for learn, ask in GroupKFold(_FOLDS).split(x, level, groups):
        if len(np.unique(level[learn])) < 2:
            return None
        for i, penalty in enumerate(PENALTIES):
            fitted = _regression(x[learn], level[learn], penalty, power)
            said[i, ask] = _chances(fitted, x[ask], classes).argmax(axis=1)
    cells = [np.bincount(level * classes + row, minlength=classes**2) for row in said]
    kappas = np.nan_to_num([kappa_of(cell.astype(np.float64)) for cell in cells], nan=-1.0)
    return PENALTIES[int(np.argmax(kappas))]


def _regression(x: Any, level: Ints, penalty: float, power: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    weights = level_weights(level[:, None], int(level.max()) + 1, power)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the notes say it
        return LogisticRegression(C=penalty, max_iter=500, tol=1e-3).fit(
            x, level, sample_weight=weights[level]
        )


def _chances(fitted: Any, x: Any, classes: int) -> Floats:
    out = np.zeros((x.shape[0], classes))
    out[:, fitted.classes_] = fitted.predict_proba(x)
    return out


def _by_dimension(
    train: MeasuredTexts,
    test: MeasuredTexts,
    classes: int,
    features: Callable[[MeasuredTexts], Any],
    fit: Callable[[Any, Ints, Any], Floats],
) -> Floats:
    """`fit` for each dimension that has two levels to tell apart; majority for the others."""
    out = majority(train, test, classes)
    known, asked = features(train), features(test)
    for j in range(train.labels.shape[1]):
        keep = np.flatnonzero(train.labels[:, j] != IGNORE)
        level = train.labels[keep, j]
        if len(np.unique(level)) > 1 and len(test.texts):
            out[:, j] = fit(known[keep], level, asked)
    return out


def _ordinal(x: Floats, level: Ints, asked: Floats, classes: int) -> Floats:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x)
    x, asked = scaler.transform(x), scaler.transform(asked)
    above = np.empty((len(asked), classes + 1))
    above[:, 0], above[:, -1] = 1.0, 0.0
    for k in range(classes - 1):
        high = level > k
        if high.all() or not high.any():
            above[:, k + 1] = float(high.any())
        else:
            model = LogisticRegression(C=10.0).fit(x, high)
            above[:, k + 1] = model.predict_proba(asked)[:, 1]
    # Regressions fitted apart may cross; a level cannot have a negative chance.
    above = np.minimum.accumulate(above, axis=1)
    return above[:, :-1] - above[:, 1:]
