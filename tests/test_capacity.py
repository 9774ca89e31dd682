"""What fits is told from the machine itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from idfer import capacity
from idfer.capacity import available_memory, free_disk, gibibytes


def test_memory_and_disk_are_those_of_this_machine(tmp_path: Path) -> None:
    available = available_memory()
    assert available is not None
    assert 2**20 < available <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    here, later = free_disk(tmp_path), free_disk(tmp_path / "not" / "yet" / "made")
    assert here is not None
    assert later is not None
    assert abs(here - later) < 2**33  # the same disk, which others write to meanwhile


def test_what_a_container_uses_already_is_not_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = {
        "memory.max": "8000000",
        "memory.current": "7000000",
        "memory.stat": "anon 5\ninactive_file 400000\n",
    }
    for name, text in group.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(capacity, "_GROUPS", ((tmp_path / "memory.max", tmp_path / "memory.current"),))
    assert available_memory() == 1_400_000
    (tmp_path / "memory.max").write_text("max\n")
    assert (available_memory() or 0) > 8_000_000, "no limit"


def test_sizes_are_readable() -> None:
    assert gibibytes(350 * 2**30) == "350.0 GiB"
    assert gibibytes(2**40) == "1,024.0 GiB"
