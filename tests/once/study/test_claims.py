"""Verdicts on the article's claims, against intervals from elsewhere."""

import engine
import numpy as np
import pytest
from scipy import stats

ECE = [0.0433, 0.0450, 0.0500]  # of three seeds: 0.0461 ± 0.0035


def added(article, values, **how):
    claims = engine.Claims()
    claims.number("it", article, values, digits=3, **how)
    return claims.table().iloc[0]


def test_the_interval_is_that_of_the_t_test():
    reference = stats.ttest_1samp(ECE, 0).confidence_interval(0.95)
    np.testing.assert_allclose(engine.seeds_interval(ECE), reference, rtol=1e-12)


def test_one_further_run_has_twice_the_interval_of_the_mean_of_three():
    low, high = engine.seeds_interval(ECE)
    widest = engine.seeds_interval(ECE, one_run=True)
    np.testing.assert_allclose(np.diff(widest), 2 * (high - low), rtol=1e-12)
    np.testing.assert_allclose(np.mean(widest), np.mean(ECE), rtol=1e-12)


def test_one_seed_has_no_interval_and_no_number_lies_in_it():
    assert np.isnan(engine.seeds_interval([0.5])).all()
    assert added(0.5, [0.5])["verdict"] == "does not hold"


def test_a_table_of_seeds_is_no_column():
    with pytest.raises(ValueError, match="one number for each seed"):
        engine.seeds_interval(np.ones((3, 2)))


@pytest.mark.parametrize(
    ("article", "also", "verdict"),
    [
        (0.046, True, "holds"),
        (0.046, False, "holds in part"),
        (0.023, True, "holds in part"),
        (0.023, False, "does not hold"),
        (0.046, None, "holds"),
        (0.023, None, "does not hold"),
    ],
)
def test_the_verdict_follows_from_the_interval_and_the_comparison(
    article, also, verdict
):
    row = added(article, ECE, also=None if also is None else ("below", also))
    assert row["verdict"] == verdict
    assert row["inside"] == ("yes" if article == 0.046 else "no")
    assert row["ours"] == "0.046 ± 0.003"
    assert row["seeds"] == 3


def test_the_difference_to_a_range_is_that_to_its_nearer_end():
    for article, said, difference, inside in (
        (0.023, "0.023", "+0.023", "no"),
        ((0.05, 0.06), "0.05 to 0.06", "-0.004", "yes"),
        ((0.01, 0.02), "0.01 to 0.02", "+0.026", "no"),
        ((0.04, np.inf), "0.04 or more", "none", "yes"),
        ((0.06, np.inf), "0.06 or more", "-0.014", "no"),
    ):
        row = added(article, ECE)
        found = (row["article"], row["difference"], row["inside"])
        assert found == (said, difference, inside)


def test_what_one_more_run_may_show_is_wider():
    # The mean's interval ends at 0.0547, that of one run at 0.0633.
    row = added(0.06, ECE)
    assert (row["inside"], row["inside_one_run"]) == ("no", "yes")


def test_ratios_are_averaged_by_their_logarithms():
    # Between 2 and 8, by factors, lies 4.
    row = added(5.0, [2.0, 8.0], ratio=True)
    half = stats.ttest_1samp(np.log2([2.0, 8.0]), 0).confidence_interval(0.95)
    assert row["ours"] == "4.000"
    assert row["interval"] == " to ".join(f"{2**end:.3f}" for end in half)


def test_claims_without_a_number_have_no_interval_and_those_untested_no_seeds():
    claims = engine.Claims()
    about = {"seeds": 3, "holds": False}
    claims.statement("a", "text", "so", "in all", **about, in_part=True)
    claims.statement("b", "figure", "so", "in all", **about)
    claims.unjudged("c", "text", "no run", "not tested")
    table = claims.table()
    assert list(table["verdict"]) == ["holds in part", "does not hold", "not tested"]
    assert table[["difference", "interval", "inside"]].isna().all(axis=None)
    assert list(table["seeds"].isna()) == [False, False, True]


def test_the_summary_is_what_fits_a_page_and_has_the_interval_of_numbers():
    claims = engine.Claims()
    claims.number("a number", 0.046, ECE, digits=3)
    how = {"seeds": 3, "holds": False, "in_part": True}
    claims.statement("a sentence", "figure", "two of three", "all", **how)
    summary = claims.summary()
    assert summary.columns.tolist() == [
        "claim",
        "article",
        "ours",
        "verdict",
        "criterion",
    ]
    low, high = engine.seeds_interval(ECE)
    said = f"0.046 ± 0.003, interval {low:.3f} to {high:.3f}"
    assert summary["ours"].tolist() == [said, "two of three"]
    assert summary["verdict"].tolist() == ["holds", "holds in part"]
