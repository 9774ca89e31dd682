"""Whether a saved state of an optimiser or schedule is one: `load_state_dict` takes nearly anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_MOMENTS = frozenset({"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer"})


def check_optimizer_state(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Refuse a state that would be taken and on which the next step would fail.

    Args:
        optimizer: an optimiser or schedule, new.
        state: what is to be loaded into it.

    Raises:
        ValueError: the state is not one of this optimiser's.
        KeyError, TypeError, AttributeError: it is not even a state.
    """
    fresh = optimizer.state_dict()
    if "param_groups" not in fresh:
        _check_alike(_public(fresh), _public(state), "a schedule's numbers")
        return
    for new, saved in zip(fresh["param_groups"], state["param_groups"], strict=True):
        # a schedule adds `initial_lr` once it is attached
        _check_alike(
            {key: value for key, value in new.items() if key != "initial_lr"},
            {key: value for key, value in saved.items() if key != "initial_lr"},
            "an optimiser's settings",
        )
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = state["state"]
    if len({frozenset(of_parameter) for of_parameter in moments.values()}) > 1:
        raise ValueError("an optimiser's moments are not all there")
    for number, of_parameter in moments.items():
        if not isinstance(number, int) or not 0 <= number < len(parameters):
            raise ValueError(f"an optimiser's parameter {number!r} does not exist")
        for name, value in of_parameter.items():
            shape = () if name == "step" else parameters[number].shape
            fits = isinstance(value, Tensor) and value.shape == shape
            if name not in _MOMENTS or not fits:
                raise ValueError(f"an optimiser's {name!r} does not fit its parameter")


def _public(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if not name.startswith("_")}


def _check_alike(new: Mapping[str, Any], saved: Mapping[str, Any], what: str) -> None:
    """Both have the same names, and values of one kind under each."""
    if set(new) != set(saved) or any(_kind(new[name]) != _kind(saved[name]) for name in new):
        raise ValueError(f"{what} are not as they were written")


def _kind(value: Any) -> Any:
    """What a value is, as far as JSON tells."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return type(value)
    if isinstance(value, (int, float)):
        return float
    if isinstance(value, (list, tuple)):
        return [_kind(part) for part in value]
    return type(value)
