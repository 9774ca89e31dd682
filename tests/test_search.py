"""Searches: draws are repeatable, within their ranges and all different; edges are told."""

from __future__ import annotations

import pytest

from idfer.catalogue import METHODS, MethodEntry
from idfer.errors import UsageError
from idfer.search import Choice, Range, at_edge, draw
from idfer.training.settings import Settings

RANGES = {
    "lr": Range(0.001, 0.1), "terms.weight": Range(0, 10, log=False), "terms.kind": Choice("a", "b"),
}  # fmt: skip


def test_the_first_setting_is_the_default_and_the_others_are_draws_as_settings_take_them() -> None:
    first, *others = draw(RANGES, 200, seed=3, name="m")
    assert first == {}
    for changes in others:
        assert set(changes) == {"lr", "terms"}
        assert set(changes["terms"]) == {"weight", "kind"}
        assert 0.001 <= changes["lr"] <= 0.1
        assert changes["lr"] == float(f"{changes['lr']:.3g}")
    lr = sorted(changes["lr"] for changes in others)
    assert 0.007 < lr[100] < 0.014  # the median of a log-uniform draw is the geometric mean, 0.01
    weight = sorted(changes["terms"]["weight"] for changes in others)
    assert 4 < weight[100] < 6
    assert {changes["terms"]["kind"] for changes in others} == {"a", "b"}


def test_draws_depend_on_seed_and_name_and_on_nothing_else() -> None:
    assert draw(RANGES, 5, 0, "m") == draw(dict(reversed(RANGES.items())), 5, 0, "m")
    assert draw(RANGES, 9, 0, "m")[:5] == draw(RANGES, 5, 0, "m")
    assert draw(RANGES, 5, 0, "m") != draw(RANGES, 5, 1, "m")
    assert draw(RANGES, 5, 0, "m") != draw(RANGES, 5, 0, "n")
    # reported trials are found again by these numbers
    assert draw({"lr": Range(0.0008, 0.008)}, 3, 0, "erm") == [{}, {"lr": 0.00712}, {"lr": 0.00103}]


def test_a_search_never_tries_a_setting_twice() -> None:
    two = {"terms.kind": Choice("a", "b")}
    assert sorted(str(changes) for changes in draw(two, 3)) == [
        "{'terms': {'kind': 'a'}}", "{'terms': {'kind': 'b'}}", "{}",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="settings is 4, but the search of m has only 3 different ones"):
        draw(two, 4, name="m")


@pytest.mark.parametrize(
    ("range_", "value", "edge"),
    [
        (Range(0.01, 1), 0.0158, True),  # log10 from -2 to 0: the tenth ends at 10^-1.8 = 0.01585
        (Range(0.01, 1), 0.016, False),
        (Range(0.01, 1), 0.63, False),
        (Range(0.01, 1), 0.64, True),
        (Range(0.01, 1), 0.0, True),
        (Range(0.01, 1), 2.0, True),
        (Range(0, 1, log=False), 0.2, False),
        (Range(0, 1, log=False), 0.05, True),
        (Choice(0, 1, 2), 1, False),
        (Choice(0, 1, 2), 2, True),
        (Choice(0, 1, 2), 3, True),
        (Choice(0, 1), 1, False),  # of two, one must be taken
        (Choice("a", "b", "c"), "a", False),
        (Choice(True, False), True, False),
    ],
)
def test_edges_are_the_outer_tenths(range_: Range | Choice, value: object, edge: bool) -> None:
    searched = {"lr": Range(0.001, 0.1), "terms.x": range_}
    assert at_edge(searched, {"lr": 0.01, "terms": {"x": value}}) == (["terms.x"] if edge else [])
    assert at_edge(searched, {"terms": {}}) == []


def test_impossible_searches_are_refused() -> None:
    for bad in ((1.0, 1.0), (2.0, 1.0), (0.0, float("inf"))):
        with pytest.raises(UsageError, match="low must be less than high"):
            Range(*bad)
    with pytest.raises(UsageError, match="range 0 to 1: on a log scale low must be positive"):
        Range(0, 1)
    with pytest.raises(UsageError, match="at least one value"):
        Choice()
    with pytest.raises(UsageError, match="settings is 0"):
        draw(RANGES, 0)


def test_a_search_of_another_kind_is_refused_with_an_example() -> None:
    for bad in ({"terms.smooth": (0.1, 0.2)}, [{"terms": {"smooth": 0.1}}]):
        with pytest.raises(UsageError, match=r"own: search is .*; map names to ranges or choices"):
            MethodEntry("own", search=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", METHODS)
def test_the_catalogue_searches_terms_that_exist_and_every_methods_learning_rate(name: str) -> None:
    searched = METHODS[name].search
    assert "lr" in searched
    for changes in draw(searched, 20, name=name):
        Settings.of(method=name, **changes)
