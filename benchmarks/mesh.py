"""How fast faces are rendered: `python benchmarks/mesh.py --assets FILE.npz [FILE.npz] [--size 96]`.

Prints the processor time of a face and of its parts (shape, hair and paint; Mitsuba's scene; its light),
and the ratio to bare Mitsuba: one scene, built once, rendered again and again with the same size and samples.
Processor time is less disturbed by what else the machine does; faces per second are what so much of it comes
to on `--cores` quiet cores. `--wall N` also writes N faces with the engine's processes and takes the time.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from idfer.synthetic.factors import sample
from idfer.synthetic.mesh import asset, draw, stage
from idfer.synthetic.mesh.engine import Mesh
from idfer.synthetic.mesh.head import Model


def measure(files: list[Path], size: int, samples: int, count: int) -> dict[str, float]:
    """Milliseconds of processor time per face, in one process."""
    models = [Model(asset.read(file)) for file in files]
    faces = sample(count, 1, seed=3)
    spent: dict[str, list[float]] = {"all": [], "scene": [], "light": [], "bare": []}
    mi = stage.mitsuba()
    load, render = mi.load_dict, mi.render

    def timed(what: str, function: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            result = function(*arguments, **options)
            if what == "light" or (isinstance(arguments[0], dict) and arguments[0].get("type") == "scene"):
                spent[what].append(time.process_time() - start)
                held[what] = arguments[0] if what == "light" else result
            return result

        return run

    held: dict[str, Any] = {}
    with stage.single_thread():
        draw.draw(models[0], faces.rows([0]), size, samples)  # first use loads libraries
        mi.load_dict, mi.render = timed("scene", load), timed("light", render)
        try:
            for k in range(count):
                start = time.process_time()
                draw.draw(models[k % len(models)], faces.rows([k]), size, samples)
                spent["all"].append(time.process_time() - start)
        finally:
            mi.load_dict, mi.render = load, render
        for k in range(count):
            start = time.process_time()
            np.array(render(held["light"], seed=k, spp=samples))
            spent["bare"].append(time.process_time() - start)
    found = {name: 1000 * float(np.mean(values)) for name, values in spent.items()}
    found["rest"] = found["all"] - found["scene"] - found["light"]
    found["ratio to bare Mitsuba"] = found["all"] / found["bare"]
    return found


def main() -> None:
    """Measure, print, and write `--out` if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, nargs="+", required=True)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--wall", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()

    found = measure(given.assets, given.size, given.samples, given.count)
    print(f"{given.size} px, {given.samples} samples, {given.count} faces; ms of processor per face:")
    for name in ("all", "rest", "scene", "light", "bare"):
        print(f"{name:>8} {found[name]:8.0f}")
    rate = given.cores * 1000 / found["all"]
    ratio = found["ratio to bare Mitsuba"]
    print(f"ratio to bare Mitsuba {ratio:.2f}; {rate:.1f} faces/s on {given.cores} cores")
    result: dict[str, Any] = vars(given) | {"assets": [file.name for file in given.assets], "ms": found}
    result |= {"faces per second": rate, "out": None}
    if given.wall:
        engine = Mesh(given.assets, given.samples, given.cores)
        start = time.perf_counter()
        done = sum(len(part) for part in engine.pictures(sample(given.wall, 1, seed=4), given.size))
        taken = time.perf_counter() - start
        workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"{done / taken:.1f} faces/s by the clock, {given.cores} processes of at most {workers:.0f} MiB"
        )
        result |= {"faces per second by the clock": done / taken, "MiB of a process": workers}
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
