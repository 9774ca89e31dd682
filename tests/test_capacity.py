"""What fits is told from the machine itself."""

from __future__ import annotations

import os
from pathlib import Path

from idfer.capacity import available_memory, free_disk, gibibytes


def test_memory_and_disk_are_those_of_this_machine(tmp_path: Path) -> None:
    available = available_memory()
    assert available is not None
    assert 2**20 < available <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    here, later = free_disk(tmp_path), free_disk(tmp_path / "not" / "yet" / "made")
    assert here is not None
    assert later is not None
    assert abs(here - later) < 2**33  # the same disk, which others write to meanwhile


def test_sizes_are_readable() -> None:
    assert gibibytes(350 * 2**30) == "350.0 GiB"
    assert gibibytes(2**40) == "1,024.0 GiB"
