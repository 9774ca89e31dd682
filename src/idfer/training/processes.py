"""One process per device on this machine: started, watched, and ended together with one message."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from idfer.errors import IdferError, UsageError
from idfer.files import atomic

_WORK, _FAILURE = "work.pt", "failure-{}.json"
_KINDS: dict[str, type[Exception]] = {
    "IdferError": IdferError, "UsageError": UsageError, "MemoryError": MemoryError,
    "OutOfMemoryError": torch.cuda.OutOfMemoryError,
}  # fmt: skip


def run_processes(function: Callable[[Any], None], work: Any, count: int) -> None:
    """Run `function(work)` in `count` new processes, which Fabric takes for the ranks of one training.

    What they work on is written to a temporary file that all of them map into memory, not copied to each.

    Args:
        function: of a module, so that another process finds it.
        work: what it gets; anything that `torch.save` takes.
        count: processes.

    Raises:
        IdferError, UsageError: the first that a process raised; the others are ended.
        RuntimeError: a process failed otherwise; with its traceback.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # this module is just being imported
        raise UsageError(
            "--devices: a script that trains on several devices is imported by each of their processes; put "
            'the call under `if __name__ == "__main__":`.'
        )
    with tempfile.TemporaryDirectory(prefix="idfer-") as name:
        folder = Path(name)
        try:
            torch.save(work, folder / _WORK)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise IdferError(
                f"{folder}: the faces cannot be handed to the processes ({reason}); free some space or name "
                "another folder in TMPDIR."
            ) from error
        port = LightningEnvironment().main_port
        context = start_processes(
            _process, args=(function, folder, count, port), nprocs=count, join=False, start_method="spawn"
        )
        logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # it tells whom it ends
        try:
            while not context.join():
                pass
        except (ProcessRaisedException, ProcessExitedException) as error:
            raise _failure(folder, error) from None
        finally:
            for process in context.processes:
                if process.is_alive():  # the user interrupted this process
                    process.terminate()
                    process.join()


def _process(rank: int, function: Callable[[Any], None], folder: Path, count: int, port: int) -> None:
    """What each process does."""
    os.environ |= {
        "LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }  # fmt: skip
    warnings.filterwarnings("ignore", module="PIL")  # as on the command line
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // count))
    try:
        function(torch.load(folder / _WORK, mmap=True, weights_only=False))
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    except Exception as error:
        _tell(folder, rank, error)
        raise


def _tell(folder: Path, rank: int, error: Exception) -> None:
    """Leave word of a failure, before the connections to the others break and they fail, too."""
    told = {
        "time": time.time(), "kind": type(error).__name__, "message": str(error),
        "trace": traceback.format_exc(),
    }  # fmt: skip
    with suppress(OSError, IdferError), atomic(folder / _FAILURE.format(rank)) as temporary:
        temporary.write_text(json.dumps(told), encoding="utf-8")


def _failure(folder: Path, error: Exception) -> Exception:
    """What to raise for the first failure that a process told, or for `error` where none could."""
    files = folder.glob(_FAILURE.format("*"))
    failures = sorted(
        (json.loads(file.read_text(encoding="utf-8")) for file in files), key=itemgetter("time")
    )
    if not failures:
        how = " ".join(str(error).split())
        why = "it may have run out of memory"
        if getattr(error, "exit_code", 0) == 1:  # before it came to its work
            why = 'see above; in a script the call must stand under `if __name__ == "__main__":`'
        return IdferError(
            f"training ended, for one of its processes did ({how}); {why}. What was saved is kept: the same "
            "command goes on from there."
        )
    first = failures[0]
    if (kind := _KINDS.get(first["kind"])) is not None:
        return kind(first["message"])
    return RuntimeError(f"a process of the training failed:\n{first['trace']}")
