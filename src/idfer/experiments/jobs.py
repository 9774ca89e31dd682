"""Jobs: a function and its arguments, whose result is kept under the hash of both and never computed twice.

Every worker writes its own result, whole or not at all, so an interruption at any moment loses only the jobs
that were running. A job that fails is reported by name when the others have finished.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from idfer.errors import IdferError, UsageError
from idfer.files import atomic
from idfer.progress import bar
from idfer.workers import cores, processes

FORMAT = 3  # raised whenever an older result would not be computed again as it was
JOBS = "jobs"


@dataclass(frozen=True)
class Job:
    """A piece of work.

    Attributes:
        name: for people; no part of the hash.
        function: MODULE:NAME of `f(out: Path, **arguments) -> dict`.
        arguments: all that the result depends on: JSON's own types, or records (dataclasses) of them.
    """

    name: str
    function: str
    arguments: Mapping[str, Any] = field(hash=False)

    @cached_property
    def key(self) -> str:
        """Hash of the function, its arguments and `FORMAT`: 16 hex digits."""
        content = json.dumps([FORMAT, self.function, self.arguments], sort_keys=True, default=_hashed)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def file(self, out: Path) -> Path:
        """Where the result is kept."""
        return out / JOBS / f"{self.key}.json"

    def result(self, out: Path) -> dict[str, Any] | None:
        """The kept result, or None where there is none."""
        try:
            result: dict[str, Any] = json.loads(self.file(out).read_text(encoding="utf-8"))["result"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, OSError) as error:
            raise IdferError(
                f"{self.file(out)}: cannot be read ({error}); delete it and run again."
            ) from error
        return result


@dataclass(frozen=True)
class Workers:
    """Where jobs run.

    Attributes:
        count: processes; 1 runs them in this one.
        ray: run on Ray instead, `count` jobs at a time.

    A worker computes on one thread, whatever the machine: on two, sums round differently, and of a last digit
    12 epochs of ERM make .02 of a CCC. Processors with other instructions still differ (see `machine`).
    """

    count: int = 1
    ray: bool = False

    @classmethod
    def of(cls, count: int | None, ray: bool) -> Workers:
        """As many as there are cores unless told otherwise.

        Raises:
            UsageError: fewer than one, or Ray is not installed.
        """
        if count is not None and count < 1:
            raise UsageError(f"--workers is {count}; it must be at least 1.")
        if ray:
            try:
                import_module("ray")
            except ImportError as error:
                raise UsageError(
                    "--ray true needs Ray: pip install 'idfer[ray]', or leave the option out to use "
                    "processes on this machine."
                ) from error
        return cls(count or cores(), ray)


def run_jobs(
    jobs: Sequence[Job], out: Path, workers: Workers, what: str = "jobs", progress: bool = True
) -> list[dict[str, Any] | str]:
    """Run the jobs that have no result yet.

    Args:
        jobs: what to run; equal jobs run once.
        out: folder of the results.
        workers: where.
        what: a word for the progress bar.
        progress: show it.

    Returns:
        Per job its result, or one line that says why it has none.

    Raises:
        IdferError: a worker died; what was finished is kept.
    """
    todo = {job.key: job for job in jobs if job.result(out) is None}
    failed: dict[str, str] = {}
    if todo:
        run = _on_ray if workers.ray else _in_pool if workers.count > 1 else _here
        with bar(what, len(todo), progress) as advance:
            for job, problem in run(list(todo.values()), out, workers):
                if problem:
                    failed[job.key] = problem
                advance(1, f"{len(failed)} failed" if failed else job.name)
    return [failed.get(job.key) or job.result(out) or "lost: its result has disappeared" for job in jobs]


def failures(jobs: Sequence[Job], results: Sequence[dict[str, Any] | str]) -> list[str]:
    """One line for each job that has no result, by name."""
    return [
        f"{job.name}: {result}" for job, result in zip(jobs, results, strict=True) if isinstance(result, str)
    ]


def fail(problems: Sequence[str]) -> None:
    """Raise one `IdferError` that names every job that failed, where there is one."""
    if problems:
        count = "1 job" if len(problems) == 1 else f"{len(problems)} jobs"
        raise IdferError(
            f"{count} failed, the others are kept: {' '.join(problems)} Mend that and run the "
            "same command again."
        )


def _here(jobs: Sequence[Job], out: Path, workers: Workers) -> Iterator[tuple[Job, str]]:
    from idfer.evaluation.probes import one_thread

    with one_thread():
        for job in jobs:
            yield job, execute(job, out)


def _in_pool(jobs: Sequence[Job], out: Path, workers: Workers) -> Iterator[tuple[Job, str]]:
    """A process per worker."""
    # an interrupted job is run again next time; the workers end after the jobs they are at
    with processes(min(workers.count, len(jobs)), _prepare, "a worker process") as pool:
        waiting = list(jobs)
        running: dict[Future[str], Job] = {}
        while waiting or running:
            while waiting and len(running) < workers.count:  # a pool starts what is queued, even interrupted
                job = waiting.pop(0)
                running[pool.submit(execute, job, out)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


_held = ExitStack()  # of a worker, as long as its process lives


def _prepare() -> None:
    """A worker has one thread, and knows the source it runs."""
    from idfer.evaluation.probes import one_thread

    _held.enter_context(one_thread())
    source()  # of the code this process is about to import; files may change while it works


def _on_ray(jobs: Sequence[Job], out: Path, workers: Workers) -> Iterator[tuple[Job, str]]:
    """Ray tasks; `out` must be a folder that every node sees. Half a core each: a full one starved.

    Ray keeps its worker processes, so imports are paid once each here too.
    """
    ray = import_module("ray")
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    remote = ray.remote(num_cpus=0.5)(_ray_task)
    waiting = list(jobs)
    running: dict[Any, Job] = {}
    while waiting or running:
        while waiting and len(running) < workers.count:
            job = waiting.pop(0)
            running[remote.remote(job, out.resolve())] = job
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            yield running.pop(reference), ray.get(reference)


def _ray_task(job: Job, out: Path) -> str:
    from idfer.evaluation.probes import one_thread

    with one_thread():
        return execute(job, out)


def execute(job: Job, out: Path) -> str:
    """Run one job and keep its result; returns "" or one line that says why it failed."""
    module, _, name = job.function.partition(":")
    failure = job.file(out).with_suffix(".failed.txt")
    start, code = time.monotonic(), source()  # before anything is imported, not when the job has ended
    try:
        result = getattr(import_module(module), name)(out=out, **job.arguments)
    except Exception as error:  # whatever it is, the other jobs go on
        with atomic(failure) as temporary:
            temporary.write_text(f"{job.name}\n{traceback.format_exc()}", encoding="utf-8")
        kind = "" if isinstance(error, IdferError) else f"{type(error).__name__}: "
        text = " ".join(f"{kind}{error}".split())
        return text if kind == "" else f"{text} (see {failure})"
    content = {
        "name": job.name,
        "function": job.function,
        "arguments": dict(job.arguments),
        "seconds": round(time.monotonic() - start, 2),
        "source": code,
        "machine": machine(),
        "result": result,
    }
    with atomic(job.file(out)) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=_plain) + "\n", encoding="utf-8")
    failure.unlink(missing_ok=True)
    return ""


def _plain(record: Any) -> Any:
    """A record as JSON takes it, for people; jobs run with the record itself."""
    return record.to_dict() if hasattr(record, "to_dict") else asdict(record)


def _hashed(record: Any) -> Any:
    """The same, for the hash."""
    return record.hashed() if hasattr(record, "hashed") else _plain(record)


_MATTERS = (
    "attributes", "capacity.py", "catalogue.py", "data", "device.py", "evaluation",
    "experiments/measuring.py", "experiments/manifests/faces.py", "experiments/manifests/trial.py",
    "experiments/protocol.py", "experiments/protocols", "experiments/scores.py", "experiments/trial.py",
    "methods", "models", "names.py", "objectives", "options.py", "ranges.py",
    "search.py", "statistics", "synthetic", "training", "types.py",
)  # fmt: skip


@cache
def source() -> str:
    """Hash of the source that results come from, kept beside each result so that a mixture can be seen.

    Of all that computes a trial's numbers, not of what chooses between them or writes pages. A process asks
    before it starts to work and keeps the answer. It is no part of a job's hash: a changed comment must not
    throw a night's work away.
    """
    return digest_of_source(_MATTERS)


def digest_of_source(parts: Sequence[str]) -> str:
    """Hash of some files and folders of this package."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for part in parts:
        place = root / part
        for file in [place] if place.suffix else sorted(place.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def machine() -> dict[str, Any]:
    """What else the last digits hang on: threads, the processor's instructions, and torch."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    return {"threads": torch.get_num_threads(), "cpu": capability, "torch": torch.__version__}


def sources(jobs: Sequence[Job], out: Path) -> list[str]:
    """The distinct `source` values behind these jobs' results, of those that have one."""
    files = [file for job in jobs if (file := job.file(out)).is_file()]
    return sorted({json.loads(file.read_text(encoding="utf-8"))["source"] for file in files})


def origins(parts: Mapping[str, Sequence[Job]], out: Path) -> dict[str, Any]:
    """Hashes of the source (see `source`) that a page comes from: `source`, `source_of` each part.

    Args:
        parts: jobs by what they are for.
        out: folder of their results.
    """
    of = {name: sources(jobs, out) for name, jobs in parts.items()}
    return {"source": sorted({*chain(*of.values())}), "source_of": of}
