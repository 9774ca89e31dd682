"""Intervals of probes' scores hold what was learned from people, not only who is read."""

from __future__ import annotations

import numpy as np
import pytest

from idfer.evaluation.leakage import probe
from idfer.evaluation.probe_intervals import of_readers, scored


def sums(people=400, shuffles=10, right=0.5, seed=0):
    """Sums of people at two levels, a half each: read right with a chance, dealings by luck."""
    rng = np.random.default_rng(seed)
    parts = np.zeros((people, 1 + shuffles, 2, 2))
    chance = np.r_[right, np.full(shuffles, 0.5)]
    level = np.arange(people) % 2
    parts[np.arange(people), :, level, 1] = 4
    parts[np.arange(people), :, level, 0] = rng.binomial(4, chance, (people, 1 + shuffles))
    return parts


def width(low, high):
    return high - low


def test_where_nothing_leaks_people_count_as_often_as_they_act():
    """Twice the variance: once for who is read, once for who is learned from."""
    found, readers = scored(sums(), False, 0), of_readers(sums(), False, 0)
    assert width(found.low, found.high) / width(*readers) == pytest.approx(np.sqrt(2), rel=0.06)
    assert found.low < readers[0] < found.score < readers[1] < found.high


def test_an_interval_of_a_clear_leak_grows_less():
    found, readers = scored(sums(right=0.97), False, 0), of_readers(sums(right=0.97), False, 0)
    assert found.score > 0.9
    assert width(found.low, found.high) / width(*readers) > 1
    assert found.low > 0.8


def test_a_probe_that_says_one_thing_of_everybody_is_not_sure_of_it():
    """Balanced accuracy is 0.5 whoever is drawn: without what was learned the interval would be a point."""
    constant = sums()
    constant[:, 0, 0, 0], constant[:, 0, 1, 0] = constant[:, 0, 0, 1], 0.0
    constant[:, 1:] = sums(seed=1)[:, 1:]
    found = scored(constant, False, 0)
    assert found.low < -0.03 and found.high > 0.03


def test_numbers_hold_what_was_learned_too():
    rng = np.random.default_rng(0)
    parts = np.ones((300, 3, 2))
    parts[..., 0] += rng.normal(0, 0.5, (300, 3))
    found, readers = scored(parts, True, 0), of_readers(parts, True, 0)
    assert width(found.low, found.high) / width(*readers) == pytest.approx(np.sqrt(2), rel=0.1)


def test_nothing_is_seldom_surely_read_of_few_people():
    """Sixty people, a feature of two numbers: 2 of 30 lower ends lay above 0 before."""
    low = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(60), 4)
        level = np.where(rng.random(60) < 0.5, "a", "b")[who]
        low.append(probe(rng.normal(size=(60, 2))[who] + rng.normal(size=(240, 2)), level, who).low)
    assert np.sum(np.array(low) > 0) <= 1
