"""Jobs: hashed, kept, resumed, and honest about failures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

from idfer.errors import IdferError, UsageError
from idfer.experiments import jobs, trial
from idfer.experiments.jobs import Job, Workers, fail, run_jobs
from idfer.experiments.protocol import Protocol
from idfer.experiments.tables import source_text
from idfer.training.settings import Settings


def double(out: Path, number: int) -> dict[str, int]:
    """A job that leaves a mark whenever it runs."""
    with (out / "ran.txt").open("a") as stream:
        stream.write(f"{number}\n")
    if number == 13:
        raise IdferError("thirteen cannot be doubled.")
    if number == 14:
        raise ZeroDivisionError("a bug")
    if number == 15:
        raise KeyboardInterrupt
    if number == 16:
        os._exit(1)
    return {"doubled": 2 * number}


def job(number: int) -> Job:
    return Job(f"double {number}", "test_jobs:double", {"number": number})


def ran(out: Path) -> list[int]:
    return sorted(int(line) for line in (out / "ran.txt").read_text().split())


def test_the_hash_is_of_function_and_arguments_in_any_order_and_not_of_the_name() -> None:
    one = Job("a", "m:f", {"x": 1, "y": {"b": 2, "a": [1, 2]}})
    assert one.key == Job("b", "m:f", {"y": {"a": [1, 2], "b": 2}, "x": 1}).key
    others = [Job("a", "m:g", one.arguments), Job("a", "m:f", {**one.arguments, "x": 2})]
    others.append(Job("a", "m:f", {**one.arguments, "x": 1.5}))
    assert len({one.key, *(other.key for other in others)}) == 4


def test_another_format_is_another_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = job(1).key
    monkeypatch.setattr(jobs, "FORMAT", jobs.FORMAT + 1)
    assert job(1).key != before


def test_results_come_in_order_and_nothing_runs_twice(tmp_path: Path) -> None:
    asked = [job(3), job(1), job(3)]
    assert run_jobs(asked, tmp_path, Workers(1), progress=False) == [
        {"doubled": 6}, {"doubled": 2}, {"doubled": 6},
    ]  # fmt: skip
    assert ran(tmp_path) == [1, 3]
    run_jobs([*asked, job(2)], tmp_path, Workers(1), progress=False)
    assert ran(tmp_path) == [1, 2, 3]
    kept = json.loads(job(3).file(tmp_path).read_text())
    assert kept["arguments"] == {"number": 3}
    assert kept["name"] == "double 3"
    assert jobs.sources(asked, tmp_path) == [jobs.source()]


def test_the_source_is_that_of_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is edited while a job runs was not what ran."""
    told = iter(["before", "after"])
    monkeypatch.setattr(jobs, "source", lambda: next(told))
    run_jobs([Job("ask", "test_jobs:ask", {})], tmp_path, Workers(1), progress=False)
    assert jobs.sources([Job("", "test_jobs:ask", {}), job(99)], tmp_path) == ["before"]  # 99 has no result


def ask(out: Path) -> str:
    """A job in which a file changes, if the source were read only now."""
    return jobs.source()


def test_the_source_is_of_all_that_computes_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path(jobs.__file__).parent.parent
    for part in jobs._MATTERS:
        assert (real / part).exists()  # else it would be left out in silence
        (tmp_path / part).parent.mkdir(exist_ok=True)
        if part.endswith(".py"):
            (tmp_path / part).touch()
    monkeypatch.setattr(jobs, "__file__", str(tmp_path / "experiments" / "jobs.py"))
    seen = {jobs.source.__wrapped__()}
    for name in (
        "trial",
        "measuring",
        "protocols/minority",
        "../evaluation/anova",
        "../search",
        "../catalogue",
    ):
        file = tmp_path / "experiments" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
        seen.add(jobs.source.__wrapped__())
    (tmp_path / "experiments" / "shift_text.py").write_text("words, no numbers")
    assert jobs.source.__wrapped__() in seen
    assert len(seen) == 7


def test_a_report_tells_its_sources_and_says_where_they_are_several(tmp_path: Path) -> None:
    trials = [trial.job(str(seed), Protocol(), seed, "shifted", Settings.of(method="erm")) for seed in (1, 2)]
    faces = trial._draws(trials)
    assert len(faces) == 2
    for each, source in zip([*trials, *faces], ("a", "b", "a", "a"), strict=True):
        file = each.file(tmp_path)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"source": source}))
    found = trial.provenance({"tuning": trials[:1], "trials": trials}, tmp_path)
    assert found["source"] == ["a", "b"]
    assert found["source_of"] == {"tuning": ["a"], "trials": ["a", "b"], "faces": ["a"]}
    said = source_text(found["source_of"])
    assert said.startswith(
        "tuning a; trials a, b; faces a. More than one: not all of it was computed by the same"
    )
    assert source_text({"trials": ["a"], "faces": ["a"]}) == "a"


def test_failures_are_named_and_the_others_are_kept(tmp_path: Path) -> None:
    found = run_jobs([job(13), job(1), job(14)], tmp_path, Workers(1), progress=False)
    assert found[0] == "thirteen cannot be doubled."
    assert found[1] == {"doubled": 2}
    trace = job(14).file(tmp_path).with_suffix(".failed.txt")
    assert found[2] == f"ZeroDivisionError: a bug (see {trace})"
    assert "test_jobs.py" in trace.read_text()
    with pytest.raises(IdferError, match=r"^1 job failed, the others are kept: double 13: thirteen"):
        fail([f"double 13: {found[0]}"])
    run_jobs([job(13), job(1)], tmp_path, Workers(1), progress=False)
    assert ran(tmp_path) == [1, 13, 13, 14]  # a failed job is tried again


def test_an_interruption_keeps_what_was_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_jobs([job(1), job(15), job(2)], tmp_path, Workers(1), progress=False)
    assert job(1).result(tmp_path) == {"doubled": 2}
    run_jobs([job(1), job(2)], tmp_path, Workers(1), progress=False)
    assert ran(tmp_path) == [1, 2, 15]


@pytest.mark.slow
def test_a_pool_keeps_what_was_finished_when_a_worker_dies(tmp_path: Path) -> None:
    asked = [job(1), job(13), job(2), job(3)]
    found = run_jobs(asked, tmp_path, Workers(2), progress=False)
    assert found == [{"doubled": 2}, "thirteen cannot be doubled.", {"doubled": 4}, {"doubled": 6}]
    with pytest.raises(IdferError, match="a worker process died"):
        run_jobs([job(4), job(16)], tmp_path, Workers(2), progress=False)
    assert job(1).result(tmp_path) == {"doubled": 2}
    assert run_jobs(asked[:1], tmp_path, Workers(2), progress=False) == [{"doubled": 2}]


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    run_jobs([job(1)], tmp_path, Workers(1), progress=False)
    job(1).file(tmp_path).write_text("{")
    with pytest.raises(IdferError, match=f"{job(1).key}.json: cannot be read .* delete it"):
        run_jobs([job(1)], tmp_path, Workers(1), progress=False)


def threads(out: Path, number: int) -> dict[str, object]:
    """A job that says on how many threads torch and BLAS compute in it, and a sum whose digits tell."""
    blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(number))
    return {"torch": torch.get_num_threads(), "blas": sorted(blas), "sum": float((values**3).sum())}


def test_a_job_computes_on_one_thread_wherever_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a trial's result hangs on how many cores and workers there were."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # what a worker would start with
        monkeypatch.setenv(name, "2")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        asked = [Job(f"threads {n}", "test_jobs:threads", {"number": n}) for n in (1, 2)]
        here = run_jobs(asked, tmp_path / "here", Workers(1), progress=False)
        there = run_jobs(asked, tmp_path / "there", Workers(2), progress=False)
        assert torch.get_num_threads() == 2  # the caller's setting is left as it was
    finally:
        torch.set_num_threads(before)
    assert here == there
    assert all(result["torch"] == 1 and result["blas"] == [1] for result in here)
    kept = json.loads(asked[0].file(tmp_path / "there").read_text())["machine"]
    assert kept["threads"] == 1 and kept["cpu"] and kept["torch"] == torch.__version__


def test_workers_default_to_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "cores", lambda: 8)
    assert Workers.of(None, False) == Workers(8)
    with pytest.raises(UsageError, match="--workers is 0"):
        Workers.of(0, False)


def test_ray_is_asked_for_by_name_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(jobs, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'idfer\[ray\]'"):
        Workers.of(2, True)
