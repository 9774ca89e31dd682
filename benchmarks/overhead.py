"""What the method costs beside ERM: `python benchmarks/overhead.py [--device cpu] [--steps 12]`.

Times whole training steps (resnet18, 112 px, batch 64) of ERM, of idfer with 3 attributes and with 16, in
turn in one process, so that all three meet the same machine, and prints ratios of medians with the spread
over the pairs. Peak memory is measured in a process of its own per method. Writes results/overhead.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from idfer.catalogue import METHODS, NETWORK
from idfer.methods.common import Facts, Setup
from idfer.methods.optimise import Budget
from idfer.models.network import Network
from idfer.types import Batch

CASES = {"erm": ("erm", 0), "idfer, 3 attributes": ("idfer", 3), "idfer, 16 attributes": ("idfer", 16)}
FACES, PEOPLE, LEVELS, EMBEDDING = 640, 40, 3, 512


def build(case: str, given: argparse.Namespace) -> tuple[Any, Batch]:
    """A method and one batch of random faces for it."""
    name, count = CASES[case]
    torch.manual_seed(0)
    posterior = torch.softmax(2 * torch.randn(FACES, count, LEVELS), -1)
    text = torch.nn.functional.normalize(torch.randn(count, LEVELS, EMBEDDING), dim=-1)
    retrieved = torch.einsum("nak,ake->nae", posterior, text)
    subject = torch.arange(FACES) % PEOPLE
    levels = {f"a{k}": [str(j) for j in range(LEVELS)] for k in range(count)}
    target, image = 2 * torch.rand(FACES, 2) - 1, torch.arange(FACES)
    facts = Facts(target, retrieved, posterior.flatten(1), levels, subject, image)
    entry = METHODS[name]
    options = {k: v for k, v in {**NETWORK, **entry.network}.items() if k != "retrieval"}
    if options.pop("attachment") == "evidence":
        options["levels"] = [LEVELS] * count
    network = Network(given.backbone, given.size, list(levels) if entry.splits else (), **options)
    fabric = Fabric(accelerator="cuda" if given.device == "cuda" else "cpu", devices=1)
    method = entry.load()(Setup(network, fabric, Budget(steps=10), facts, dict(entry.terms)))
    method.schedule.last_epoch = 9  # every term at full strength
    rows = torch.arange(given.batch)
    batch = Batch(
        image=torch.randn(given.batch, 3, given.size, given.size),
        target=facts.target[rows],
        retrieved=retrieved[rows],
        posterior=facts.posterior[rows],
        sample_weight=torch.ones(given.batch),
        subject=subject[rows],
        row=rows,
    )
    return method, Batch(**{k: v.to(fabric.device) for k, v in batch.__dict__.items()})


def step(method: Any, batch: Batch) -> float:
    """Seconds of one training step."""
    start = time.perf_counter()
    method.step(batch)
    if batch.image.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(case: str, given: argparse.Namespace) -> float:
    """Peak MiB of two steps in this process."""
    method, batch = build(case, given)
    for _ in range(2):
        step(method, batch)
    if batch.image.is_cuda:
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would include what the parent held when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--peak", choices=list(CASES), help="print one method's peak memory in MiB and stop")
    given = parser.parse_args()
    if given.peak:
        print(peak(given.peak, given))
        return
    built = {case: build(case, given) for case in CASES}
    for method, batch in built.values():
        step(method, batch)
    times: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(given.steps):
        for case, (method, batch) in built.items():
            times[case].append(step(method, batch))
    memory = {}
    for case in CASES:
        command = [sys.executable, __file__, "--peak", case, "--device", given.device]
        done = subprocess.run(
            [*command, "--size", str(given.size), "--batch", str(given.batch), "--backbone", given.backbone],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        memory[case] = float(done.stdout)
    erm, three, sixteen = CASES
    found = {
        "command": f"python benchmarks/overhead.py --device {given.device} --steps {given.steps}",
        "setting": f"{given.backbone}, {given.size} px, batch {given.batch}, {given.device}, "
        f"{torch.get_num_threads()} threads",
        "idfer with 3 attributes / ERM": ratio(times[three], times[erm]),
        "16 attributes / 3 attributes": ratio(times[sixteen], times[three]),
        "peak memory, MiB": {case: round(value) for case, value in memory.items()},
    }
    print(json.dumps(found, indent=1))
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "overhead.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def ratio(first: list[float], second: list[float]) -> dict[str, float]:
    """Ratio of median step times, and the quartiles of the ratio within each round."""
    pairs = statistics.quantiles([a / b for a, b in zip(first, second, strict=True)], n=4)
    median = statistics.median(first) / statistics.median(second)
    return {"median": round(median, 3), "quarter": round(pairs[0], 3), "three quarters": round(pairs[2], 3)}


if __name__ == "__main__":
    main()
