"""Trials kept in one file: what is unpacked is not run again."""

import importlib.util
import json
from pathlib import Path

import pytest

from idfer.experiments.jobs import Job, Workers, run_jobs
from idfer.training.settings import Settings

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
SPEC = importlib.util.spec_from_file_location(
    "kept_trials", Path(__file__).parent.parent / "benchmarks" / "trials.py"
)
assert SPEC is not None and SPEC.loader is not None
trials = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(trials)


def touch(out: Path, name: str) -> dict[str, str]:
    """A job that leaves a mark where it runs."""
    (out / name).touch()
    return {"name": name}


def jobs(*names: str) -> list[Job]:
    return [Job(name, f"{__name__}:touch", {"name": name}) for name in names]


@pytest.fixture(autouse=True)
def _import_by_name(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)


def test_what_was_kept_is_not_run_again(tmp_path):
    here, there, kept = tmp_path / "here", tmp_path / "there", tmp_path / "trials.jsonl.gz"
    for folder in (here, there):
        folder.mkdir()
    run_jobs(jobs("a", "b"), here, Workers(), progress=False)
    assert trials.pack(here, kept) == 2
    assert trials.unpack(kept, there) == 2
    results = run_jobs(jobs("a", "b", "c"), there, Workers(), progress=False)
    assert results == [{"name": "a"}, {"name": "b"}, {"name": "c"}]
    assert not (there / "a").exists() and not (there / "b").exists() and (there / "c").exists()


def test_packing_adds_to_a_file_and_equal_trials_make_equal_files(tmp_path):
    first, second, kept = tmp_path / "first", tmp_path / "second", tmp_path / "trials.jsonl.gz"
    for folder, name in ((first, "a"), (second, "b")):
        folder.mkdir()
        run_jobs(jobs(name), folder, Workers(), progress=False)
        trials.pack(folder, kept)
    before = kept.read_bytes()
    assert len(trials.read(kept)) == 2
    trials.pack(second, kept)
    assert kept.read_bytes() == before


def test_a_finished_trial_is_not_overwritten(tmp_path):
    here, kept = tmp_path / "here", tmp_path / "trials.jsonl.gz"
    here.mkdir()
    run_jobs(jobs("a"), here, Workers(), progress=False)
    trials.pack(here, kept)
    file = jobs("a")[0].file(here)
    file.write_text(json.dumps({"result": {"name": "mine"}}))
    assert trials.unpack(kept, here) == 0
    assert run_jobs(jobs("a"), here, Workers(), progress=False) == [{"name": "mine"}]


def test_trials_of_the_repository_are_those_that_the_same_settings_ask_for_today():
    kept = trials.read(RESULTS / "trials.jsonl.gz")
    asked = dict(sorted(kept.items())[::60])
    for key, trial in asked.items():
        arguments = trial["arguments"]
        if "settings" in arguments:
            arguments = arguments | {"settings": Settings.from_dict(arguments["settings"])}
        assert Job(trial["name"], trial["function"], arguments).key == key, trial["name"]
    assert len(asked) > 10
