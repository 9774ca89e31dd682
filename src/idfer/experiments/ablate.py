"""`idfer ablate`: a base and its variants under the shift protocol, from one YAML file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from idfer.errors import IdferError, UsageError, unknown

BASE = "base"
_KEYS = ("name", "seeds", "base", "variants")


@dataclass(frozen=True)
class Grid:
    """What is varied.

    Attributes:
        name: of the files written.
        seeds: of people, weights and order.
        variants: settings by name, all defaults written out; the first is the base.
        groups: the question that each variant but the base belongs to.
        given: what the file says of each variant.
    """

    name: str
    seeds: list[int]
    variants: dict[str, dict[str, Any]]
    groups: dict[str, str]
    given: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> Grid:
        """Read a grid: `base`, and `variants` {question: {name: changed settings}}.

        Args:
            path: the YAML file.
            overrides: settings that replace the base's.

        Raises:
            IdferError: no such file, or not YAML.
            UsageError: a key, setting, term, attribute, estimator or form that does not exist, or a variant
                named twice; the message says where.
        """
        from idfer.experiments.shift import numbers

        content = _load(Path(path))
        for key in content:
            if key not in _KEYS:
                raise unknown(f"key in {path}", str(key), list(_KEYS))
        base = _mapping(content.get("base"), f"{path}: base") | dict(overrides or {})
        variants = {BASE: _resolved(base, {}, f"{path}: base")}
        groups: dict[str, str] = {}
        given: dict[str, dict[str, Any]] = {BASE: {}}
        for group, members in _mapping(content.get("variants"), f"{path}: variants").items():
            for name, changes in _mapping(members, f"{path}: {group}").items():
                where = f"{path}: {group}: {name}"
                if name in variants:
                    raise UsageError(f"{where}: there is another variant of this name; rename one.")
                given[name] = _mapping(changes, where)
                variants[name] = _resolved(base, given[name], where)
                groups[name] = str(group)
        seeds = numbers("seeds", content.get("seeds", [1, 2, 3]))
        return cls(str(content.get("name", "ablation")), seeds, variants, groups, given)


def ablate(
    grid: str | Path,
    out: str | Path = "benchmarks/results",
    runs: str | Path = "runs/shift",
    seeds: list[int] | str | None = None,
    workers: int | None = None,
    ray: bool = False,
    size: Literal["full", "tiny"] = "full",
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Change one thing at a time and measure what it did, under the shift protocol.

    Trials are those of `idfer benchmark shift` and shared with it: what either has finished is not run again,
    also after an interruption. Writes ablation.md, ablation.json and a heat map ablation.png.

    Args:
        grid: YAML file, e.g. ablations/default.yaml: a base and its variants, grouped by question.
        out: folder of the results.
        runs: folder of faces, trained runs and trials.
        seeds: of people, weights and order; the grid's by default.
        workers: processes; as many as there are cores by default.
        ray: run on Ray (pip install 'idfer[ray]') instead of processes; `runs` must be visible to every node.
        size: full, or tiny (seconds; shows that everything works, measures nothing).
        device: auto, cpu, cuda, cuda:N or mps.
        progress: show progress bars.

    Returns:
        The table of results, and where the files are.

    Raises:
        UsageError: the grid asks for something that does not exist, or Ray is not installed.
        IdferError: the grid cannot be read, or jobs failed; each is named and the others are kept.
    """
    from idfer.experiments.ablate_report import write
    from idfer.experiments.jobs import Workers, fail, sources
    from idfer.experiments.protocol import SHIFTED
    from idfer.experiments.shift import numbers, sized
    from idfer.experiments.trial import job, run_trials

    protocol, changes = sized(size)
    plan = Grid.read(grid, changes)
    chosen = plan.seeds if seeds is None else numbers("seeds", seeds)
    places = [(name, seed) for seed in chosen for name in plan.variants]
    jobs = [
        job(f"{name}, seed {seed}", protocol, seed, SHIFTED, plan.variants[name], device)
        for name, seed in places
    ]
    results = run_trials(jobs, Path(runs), Workers.of(workers, ray), "ablation", progress)
    fail([f"{j.name}: {r}" for j, r in zip(jobs, results, strict=True) if isinstance(r, str)])
    rows = [
        {"name": name, "seed": seed} | result
        for (name, seed), result in zip(places, results, strict=True)
        if not isinstance(result, str)
    ]
    words = ["idfer", "ablate", str(grid)]
    words += ["--seeds", ",".join(map(str, chosen))] if seeds is not None else []
    words += ["--size", size] if size != "full" else []
    words += ["--device", device] if device != "cpu" else []
    content = {
        "command": shlex.join(words),
        "protocol": jobs[0].arguments["protocol"],
        "seeds": chosen,
        "source": sources(jobs, Path(runs)),
        "variants": [
            {"name": name, "group": plan.groups.get(name, BASE), "given": plan.given[name], "settings": one}
            for name, one in plan.variants.items()
        ],
        "rows": rows,
    }
    return write(content, plan.name, Path(out))


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise IdferError(f"{path}: cannot be read as YAML ({reason}).") from error
    return _mapping(content, str(path))


def _mapping(value: Any, where: str) -> dict[str, Any]:
    """A mapping that is not empty."""
    if not isinstance(value, dict) or not value:
        raise UsageError(f"{where}: is {json.dumps(value, default=str)}; a mapping is needed, name: value.")
    return value


def _resolved(base: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The base with a variant's changes; terms change key by key, unless the method is another."""
    from idfer.experiments.trial import resolve

    method = changes.get("method", base.get("method"))
    terms = dict(base.get("terms") or {}) if method == base.get("method") else {}
    own = changes.get("terms") or {}
    if not isinstance(own, Mapping):
        raise UsageError(f"{where}: terms is {own!r}; give a mapping of term names to values.")
    try:
        return resolve({**base, **changes, "terms": terms | dict(own)})
    except IdferError as error:
        raise type(error)(f"{where}: {error}") from error
