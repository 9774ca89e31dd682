"""How threads wait for each other: asleep, so that others can work."""

from __future__ import annotations

import os


def wait_asleep() -> None:
    """Have torch's threads sleep while they wait for each other; call before torch is imported.

    They spin otherwise, and take from whoever else works on the machine the core that the other thread waits
    for: beside busy processes a training took nearly twice as long, alone no less (benchmarks/neighbours.py).
    What OMP_WAIT_POLICY or GOMP_SPINCOUNT say is left alone.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
