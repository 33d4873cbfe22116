"""Prediction sets beside MAPIE's: the same rows, and which sets are right.

docs/compared.md tells users of the differences. A test here that fails after an upgrade
may mean that MAPIE has changed: then change the page.
"""

import warnings
from pathlib import Path

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from keras_robust.calibration import PredictionSets
from keras_robust.calibration._deciding.nonconformity import Nonconformity

ROOT = Path(__file__).parents[3]
PAGE = " ".join((ROOT / "docs" / "compared.md").read_text().split())
RNG = np.random.default_rng(6)
N, K = 400, 6
REAL = RNG.dirichlet(np.full(K, 0.5), 2 * N)
LABELS = (REAL.cumsum(-1) < RNG.random((2 * N, 1))).sum(-1)
PROB = REAL**1.5 / (REAL**1.5).sum(-1, keepdims=True)  # over-confident
Y, P, NEW = LABELS[:N], PROB[:N], PROB[N:]


class Given(ClassifierMixin, BaseEstimator):
    """A model whose probabilities are its inputs."""

    def __init__(self, num_classes):
        self.num_classes = num_classes

    def fit(self, x, y):
        return self

    def __sklearn_is_fitted__(self):
        return True

    @property
    def classes_(self):
        return np.arange(self.num_classes)

    def predict_proba(self, x):
        return np.asarray(x)

    def predict(self, x):
        return np.asarray(x).argmax(-1)


class Draws(np.random.RandomState):
    """Draws that are known: MAPIE asks for one of each row, when it fits and after."""

    def __init__(self, *batches):
        super().__init__(0)
        self.batches = list(batches)

    def uniform(self, size=None, **_):
        drawn = self.batches.pop(0)
        return drawn.reshape(size)


def by_mapie(method, y, p, new, coverage=0.9, last=True, random_state=0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = SplitConformalClassifier(
            Given(p.shape[-1]),
            confidence_level=coverage,
            conformity_score=method,
            random_state=random_state,
        )
        made.conformalize(p, y)
        sets = made.predict_set(new, {"include_last_label": last})[1][:, :, 0]
    return sets, made


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_lac_is_the_same(coverage):
    expected, _ = by_mapie("lac", Y, P, NEW, coverage)
    found = PredictionSets(coverage).fit(Y, P).transform(NEW)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.mean() < 1


def randomised(method, u, u_new, coverage, **how):
    """Ours with draws that are known."""
    score = Nonconformity(method, how.get("lambda_reg", 0.0), how.get("k_reg", 0))
    own = score.scores(P, u)[np.arange(N), Y]
    limit = np.sort(own)[int(np.ceil((N + 1) * coverage)) - 1]
    return score.scores(NEW, u_new) <= limit


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_aps_with_the_same_draws_is_the_same(coverage):
    # MAPIE takes a share off the sum that includes a class, we add one to that before.
    u, u_new = RNG.random(N), RNG.random(N)
    draws = Draws(1 - u, 1 - u_new)
    expected, _ = by_mapie("aps", Y, P, NEW, coverage, "randomized", draws)
    found = randomised("aps", u, u_new, coverage)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.mean() < 1


def coverage_of(sets):
    return sets[np.arange(N), LABELS[N:]].mean()


def test_aps_that_is_not_random():
    # MAPIE draws for its threshold but not for its sets, which take in the class that
    # crosses it: they cover more than asked. Ours have one rule for both.
    expected, _ = by_mapie("aps", Y, P, NEW, 0.8)
    found = PredictionSets(0.8, method="aps").fit(Y, P).transform(NEW)
    assert (expected | found == expected).all()
    assert coverage_of(found) == pytest.approx(0.8, abs=0.04)
    assert coverage_of(expected) > coverage_of(found) + 0.04
    assert expected.sum() > 1.1 * found.sum()
    theirs, ours = (f"{100 * coverage_of(sets):.0f} %" for sets in (expected, found))
    assert f"80 % were asked for, {theirs} in our test, ours {ours}" in PAGE
    # By MAPIE's own scores, had it drawn a 1 for every row: the class whose likelier
    # ones just reach the threshold is not in. It is the row of the threshold itself.
    ones = Draws(np.ones(N), np.ones(N))
    expected, _ = by_mapie("aps", Y, P, P, 0.8, True, ones)
    sets = PredictionSets(0.8, method="aps").fit(Y, P)
    found = sets.transform(P)
    differ = np.argwhere(found != expected)
    assert found[tuple(differ.T)].all()
    for row, k in differ:
        scores = Nonconformity("aps", 0, 0).scores(P[row : row + 1])[0]
        assert scores[k] == sets.threshold_[k]


def test_raps_with_the_same_parameters_has_the_same_threshold():
    # MAPIE chooses k and lambda on some of the rows, and has its threshold of the rest.
    # Its sets take in the class that crosses it, so they hold ours.
    expected, made = by_mapie("raps", Y, P, NEW, 0.8, True, Draws(np.ones(360)))
    inner = made._mapie_classifier.conformity_score_function_
    kept = ~(P[:, None] == inner.X_raps).all(-1).any(-1)
    how = {"lambda_reg": float(inner.lambda_star), "k_reg": int(inner.k_star[0])}
    assert how["lambda_reg"] > 0
    sets = PredictionSets(0.8, method="raps", **how).fit(Y[kept], P[kept])
    assert inner.quantiles_[0] == pytest.approx(sets.threshold_[0], rel=1e-12)
    found = sets.transform(NEW)
    assert (expected | found == expected).all()
    assert coverage_of(expected) > coverage_of(found) > 0.75


def test_a_label_that_the_model_rules_out_is_covered_too():
    # In one row of four the label has a probability of 0. To cover 90 % sets must have
    # such classes; MAPIE leaves them out, whatever the threshold.
    y = np.arange(400) % 4 // 3 * (1 + np.arange(400) % 8 // 4)
    p = np.tile([1.0, 0.0, 0.0], (400, 1))
    expected, _ = by_mapie("aps", y, p, p)
    found = PredictionSets(0.9, method="aps").fit(y, p).transform(p)
    assert expected[np.arange(400), y].mean() == 0.75
    assert "in one row of four and 90 % are asked for, its sets cover 75 %" in PAGE
    assert found[np.arange(400), y].mean() == 1.0


def test_too_few_rows():
    # MAPIE's message does not tell how many it takes.
    with pytest.raises(ValueError, match="Number of samples of the score is too low"):
        by_mapie("lac", Y[:8], P[:8], NEW)
    with pytest.raises(ValueError, match="of at least 9 rows that count"):
        PredictionSets(0.9).fit(Y[:8], P[:8])
