"""Numbers that a user chose are checked in one line that names the option."""

from __future__ import annotations

import math

import numpy as np
import pytest

from idfer.errors import UsageError
from idfer.ranges import check_at_least, check_finite, check_seed


def test_numbers_in_range_pass_whoever_made_them() -> None:
    for seed in (0, 2**32 - 1, np.int64(3)):
        check_seed(seed)
    check_at_least(0.0, 0, "--weight_decay")
    check_at_least(np.int64(1), 1, "--epochs")
    check_finite(np.float32(1e-3), "--lr", above=0)


@pytest.mark.parametrize("seed", [-1, 2**32, 99999999999999999999, 1.5, True])
def test_a_seed_that_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match=rf"^--seed is {seed}; use an integer from 0 to 4294967295\.$"):
        check_seed(seed)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, True])
def test_what_is_no_finite_number_is_refused(value: float) -> None:
    for check in (
        lambda: check_finite(value, "--lr"),
        lambda: check_finite(value, "--lr", above=0),
        lambda: check_at_least(value, 0, "--lr"),
    ):
        with pytest.raises(UsageError, match=f"^--lr is {value}; it must be a finite number"):
            check()


def test_bounds_are_named() -> None:
    with pytest.raises(UsageError, match=r"^--lr is 0; it must be greater than 0\.$"):
        check_finite(0, "--lr", above=0)
    with pytest.raises(UsageError, match=r"^--epochs is 0; it must be at least 1\.$"):
        check_at_least(0, 1, "--epochs")
    check_seed(5, most=5)
    with pytest.raises(UsageError, match="from 0 to 5"):
        check_seed(6, most=5)
