"""The choice between models by the likelihood of trusted labels."""

import numpy as np
import pytest
from scipy import optimize, special

from keras_robust.calibration import TemperatureScaling, choose_by_likelihood

K = 4


def words(size=200, seed=0):
    """Labels, logits that go with them, and the sentence of each word."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, K, size)
    logits = 2.0 * np.eye(K)[label] + rng.normal(size=(size, K))
    return label, logits, np.arange(size) // 5


def by_definition(label, logits, fold, weight):
    """Cross-validated NLL of each row, the temperature found by a bounded search."""
    cost = np.empty(len(label))
    rows = np.arange(len(label))

    def of_rows(log_t):
        scores = special.log_softmax(logits / np.exp(log_t), axis=-1)
        return -scores[rows, label]

    for held in np.unique(fold):
        trusted = weight * (fold != held)
        found = optimize.minimize_scalar(
            lambda log_t, trusted=trusted: of_rows(log_t) @ trusted,
            bounds=(-5, 5),
            method="bounded",
            options={"xatol": 1e-9},
        )
        cost[fold == held] = of_rows(found.x)[fold == held]
    return cost


def test_each_fold_has_the_temperature_of_the_others():
    label, logits, group = words()
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(label))
    folds = np.random.default_rng(7).permutation(np.arange(40) % 5)[group]
    first, second = logits, 3 * logits[:, ::-1] + 4 * np.eye(K)[label]
    choice = choose_by_likelihood(
        label,
        {"first": first, "second": second},
        from_logits=True,
        groups=group,
        sample_weight=weight,
        standard_errors=0,
        seed=7,
    )
    costs = [by_definition(label, z, folds, weight) for z in (first, second)]
    mean = [cost @ weight / weight.sum() for cost in costs]
    assert list(choice.nll.values()) == pytest.approx(mean, rel=1e-6)
    assert choice.best == ("first", "second")[int(np.argmin(mean))]
    np.testing.assert_allclose(list(choice.row_nll.values()), costs, rtol=1e-5)
    gap = costs[1] - costs[0]
    assert choice.difference == pytest.approx({"first": 0, "second": mean[1] - mean[0]})
    # The standard error of a mean of sentences, weighted.
    pulls = [
        (weight * (gap - gap @ weight / weight.sum()))[group == g].sum()
        for g in range(40)
    ]
    error = np.sqrt(40 / 39 * np.square(pulls).sum()) / weight.sum()
    assert choice.standard_error == pytest.approx({"first": 0, "second": error})


def test_the_first_stays_unless_another_is_better_by_standard_errors():
    label, logits, _ = words()
    noise = np.random.default_rng(5).normal(size=(2, *logits.shape))
    candidates = {"first": logits + noise[0], "other": logits + noise[1]}
    candidates["good"] = logits + 0.8 * noise[1]
    found = choose_by_likelihood(label, candidates, from_logits=True)
    ratio = {
        n: -found.difference[n] / found.standard_error[n] for n in ("other", "good")
    }
    assert 0 < ratio["other"] < ratio["good"]

    def best(standard_errors):
        options = {"from_logits": True, "standard_errors": standard_errors}
        return choose_by_likelihood(label, candidates, **options).best

    assert best(0) == "good"
    assert best(ratio["good"] - 0.01) == "good"
    assert best(ratio["good"] + 0.01) == "first"
    assert found.best == ("good" if ratio["good"] > 2 else "first")


def test_a_temperature_alone_makes_no_candidate_better():
    label, logits, _ = words()
    choice = choose_by_likelihood(
        label, {"hot": logits / 9, "as it is": logits}, from_logits=True
    )
    assert choice.difference["as it is"] == pytest.approx(0, abs=1e-9)
    assert choice.best == "hot"  # of equal ones the first


def test_ignored_positions_and_their_groups_do_not_count():
    label, logits, group = words(60)
    kept = np.arange(60) % 7 != 3
    marked = np.where(kept, label, -100)
    scores = np.where(kept[:, None], logits, np.nan)
    options = {"from_logits": True, "folds": 3}
    a = choose_by_likelihood(
        marked.reshape(12, 5),
        {"one": scores.reshape(12, 5, K)},
        groups=group.reshape(12, 5),
        **options,
    )
    b = choose_by_likelihood(
        label[kept], {"one": logits[kept]}, groups=group[kept], **options
    )
    assert a.nll == b.nll


def test_probabilities_count_as_their_logits_and_calibrators_are_of_all_rows():
    label, logits, _ = words()
    a = choose_by_likelihood(label, {"one": logits}, from_logits=True)
    b = choose_by_likelihood(label, {"one": special.softmax(logits, axis=-1)})
    assert a.nll["one"] == pytest.approx(b.nll["one"])
    whole = TemperatureScaling(from_logits=True).fit(label, logits)
    assert a.calibrator["one"].temperature_ == whole.temperature_


def test_the_choice_reads_as_a_table():
    label, logits, _ = words()
    worse = logits + np.random.default_rng(3).normal(size=logits.shape)
    choice = choose_by_likelihood(
        label, {"CE": worse, "matrix": logits}, from_logits=True
    )
    lines = repr(choice).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["CE", "matrix"]
    assert lines[2].endswith("<- best")
    assert f"{choice.nll['matrix']:.4f}" in lines[2]
    assert f"{choice.difference['matrix']:+.4f}" in lines[2]


@pytest.mark.parametrize(
    ("change", "error", "words_of_it"),
    [
        ({"candidates": [1, 2]}, TypeError, "`candidates` must be a mapping"),
        ({"candidates": {}}, ValueError, "`candidates` must be not empty"),
        (
            {"candidates": {"one": np.ones((60, 4)), "two": np.ones((60, 5))}},
            ValueError,
            r"`candidates\['two'\]` must be of the 4 classes",
        ),
        ({"folds": 1}, ValueError, "`folds` must be at least 2"),
        ({"folds": 61}, ValueError, "`folds` must be at most 60"),
        (
            {"groups": np.zeros(3, int)},
            ValueError,
            "`groups` must be one for each of the 60",
        ),
        ({"groups": np.zeros(60)}, TypeError, "`groups`"),
        ({"standard_errors": -1}, ValueError, "`standard_errors` must be finite"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0"),
        ({"from_logits": False}, ValueError, r"`candidates\['one'\]` must be in"),
    ],
)
def test_bad_input_says_what_is_wrong(change, error, words_of_it):
    label, logits, _ = words(60)
    options = {"candidates": {"one": logits}, "from_logits": True, **change}
    with pytest.raises(error, match=f"choose_by_likelihood: {words_of_it}"):
        choose_by_likelihood(label, **options)
