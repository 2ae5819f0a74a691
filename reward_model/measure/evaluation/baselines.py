"""What an engineer would use instead of a model, measured on the same rows by the same numbers.

`predict_all(train, test, classes=5)` fits majority, length only and TF-IDF + logistic regression on
the training groups and returns probabilities [n, D, K] for the test rows, as a model would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reward_model.records import IGNORE
from reward_model.stats.bootstrap import Floats, Ints

TITLES = {
    "majority": "majority level",
    "length": "length only",
    "tfidf": "TF-IDF + logistic regression",
}
WORDS = r"[A-Za-z]+|[0-9]+(?:[.,][0-9]+)*%?|[^\W\d_a-zA-Z]"
"""English words, whole numbers, and single characters of scripts without spaces: one- and two-grams
of these are words and word pairs in English, characters and character pairs in Chinese."""
_FEATURES = 50_000


@dataclass(frozen=True)
class Samples:
    """Texts with what is known of them."""

    texts: Sequence[str]
    """What the model reads of each sample."""
    characters: Sequence[int]
    """Length of the response."""
    tokens: Sequence[int]
    """Length of the response in the model's tokens."""
    labels: Ints
    """[n, D] levels, `IGNORE` where nobody scored."""


def predict_all(train: Samples, test: Samples, *, classes: int, seed: int = 0) -> dict[str, Floats]:
    """Baseline name -> probabilities [n, D, K] for `test`, fitted on `train`."""
    return {
        "majority": majority(train, test, classes),
        "length": length_only(train, test, classes),
        "tfidf": tfidf(train, test, classes, seed),
    }


def majority(train: Samples, test: Samples, classes: int) -> Floats:
    """The frequencies of the training levels for everyone; its best guess is the commonest level.

    A dimension nobody labelled in training gets equal chances for every level.
    """
    out = np.empty((len(test.texts), train.labels.shape[1], classes))
    for j in range(train.labels.shape[1]):
        level = train.labels[train.labels[:, j] != IGNORE, j]
        counts = np.bincount(level, minlength=classes) if len(level) else np.ones(classes)
        out[:, j] = counts / counts.sum()
    return out


def length_only(train: Samples, test: Samples, classes: int) -> Floats:
    """Ordinal logistic regression on log characters and log tokens of the response.

    One binary regression a threshold, P(level > k), so that the order of the levels is used.
    """

    def features(samples: Samples) -> Floats:
        return np.log1p(np.stack([samples.characters, samples.tokens], 1).astype(np.float64))

    return _by_dimension(train, test, classes, features, lambda x, y, z: _ordinal(x, y, z, classes))


def tfidf(train: Samples, test: Samples, classes: int, seed: int = 0) -> Floats:
    """Multinomial logistic regression a dimension on one- and two-grams of the text."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

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
    except ValueError:  # no word occurs twice: there is nothing to learn from
        return majority(train, test, classes)
    asked = vectorizer.transform(test.texts)

    def fit(x: Any, y: Ints, z: Any) -> Floats:
        model = LogisticRegression(C=10.0, max_iter=1000, random_state=seed).fit(x, y)
        out = np.zeros((z.shape[0], classes))
        out[:, model.classes_] = model.predict_proba(z)
        return out

    def features(samples: Samples) -> Any:
        return known if samples is train else asked

    return _by_dimension(train, test, classes, features, fit)


def _by_dimension(
    train: Samples,
    test: Samples,
    classes: int,
    features: Callable[[Samples], Any],
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
