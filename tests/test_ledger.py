"""The ledger: reports are entered once, seeds are not reported twice in silence, development enters none."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmark_rows import rows_of_measures
from idfer.errors import IdferError, UsageError
from idfer.experiments import ledger as ledgers
from idfer.experiments import shift
from idfer.experiments.ledger import LEDGER, Ledger
from idfer.experiments.study import Study
from idfer.experiments.tuning import Tried, read_chosen
from idfer.training.settings import Settings

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def enter(folder: Path, headline: str = "h", again: str = "", seeds: tuple[int, ...] = (11, 12)) -> str:
    entered = Ledger.beside(folder).enter("shift", "idfer benchmark shift", seeds, (201,), headline, again)
    return entered.name


def test_what_is_entered_is_read_again(tmp_path: Path) -> None:
    assert Ledger.beside(tmp_path).entries == ()
    assert enter(tmp_path) == "shift-1"
    entered = Ledger.beside(tmp_path).enter(
        "shift-minority", "c --x 'a b'", [13], [201, 202], "two\nlines", ""
    )
    assert entered.name == "shift-minority-1"
    first, second = Ledger.beside(tmp_path).entries
    assert (first.benchmark, second.benchmark) == ("shift", "shift-minority")
    assert (second.command, second.seeds, second.tuned_on) == ("c --x 'a b'", (13,), (201, 202))
    assert second.headline == "two lines"
    assert first.changed == "the first report of this benchmark"
    assert len(first.date) == 10


def test_the_same_report_is_entered_once_and_another_one_needs_a_reason(tmp_path: Path) -> None:
    assert enter(tmp_path) == enter(tmp_path) == "shift-1"
    before = (tmp_path / LEDGER).read_text()
    with pytest.raises(UsageError, match=r"the command of shift-1 .* gives other numbers now: new"):
        enter(tmp_path, "new")
    assert (tmp_path / LEDGER).read_text() == before
    assert enter(tmp_path, "new", again="a bug was mended") == "shift-2"
    assert "a bug was mended" in Ledger.beside(tmp_path).entries[1].changed
    assert (tmp_path / LEDGER).read_text().startswith(before.rstrip())


def test_one_command_on_other_seeds_is_another_report(tmp_path: Path) -> None:
    # the seeds of an ablation stand in its grid, not in its command
    assert enter(tmp_path, seeds=(11, 12)) == "shift-1"
    ledger = Ledger.beside(tmp_path)
    ledger.check_fresh("shift", (11, 12), "idfer benchmark shift", "")
    ledger.check_fresh("shift", (13, 14), "idfer benchmark shift", "")
    with pytest.raises(UsageError, match=r"seed 12 was reported before \(shift-1"):
        ledger.check_fresh("shift", (12, 13), "idfer benchmark shift", "")
    assert enter(tmp_path, "other numbers", seeds=(13, 14)) == "shift-2"
    assert Ledger.beside(tmp_path).entries[1].seeds == (13, 14)


def test_a_report_is_the_same_only_where_every_number_is(tmp_path: Path) -> None:
    def again(drift: float, why: str = "") -> str:
        numbers = {8: {"idfer": {"reversed_ccc": 0.7, "drift": drift}}}
        ledger = Ledger.beside(tmp_path)
        return ledger.enter("shift", "c", [11], [201], "CCC 0.7", why, numbers, "trials abc").name

    assert again(0.25) == again(0.25 + 1e-9) == "shift-1"
    with pytest.raises(UsageError, match="the headline is the same, others behind it are not"):
        again(0.26)
    assert again(0.26, "drift was wrong") == "shift-2"
    first, second = Ledger.beside(tmp_path).entries
    assert first.digest != second.digest and len(first.digest) == 12
    assert first.source == "trials abc"


def test_seeds_that_were_reported_are_not_tuned_on(tmp_path: Path) -> None:
    Ledger.beside(tmp_path).enter("shift-minority", "c", [11, 12], [201], "h", "")
    ledger = Ledger.beside(tmp_path)
    with pytest.raises(UsageError, match=r"seed 12 was reported before \(shift-minority-1 .* --tune_seeds"):
        ledger.check_fresh("shift", [21], "another command", "", [12, 202])
    ledger.check_fresh(
        "shift", [21], "another command", "", [201]
    )  # tuning on the same again shows nothing new
    ledger.check_fresh("shift", [21], "another command", "a reason", [12])


def test_seeds_that_were_looked_at_are_not_fresh(tmp_path: Path) -> None:
    enter(tmp_path)
    ledger = Ledger.beside(tmp_path)
    with pytest.raises(UsageError, match=r"seed 12 was reported before \(shift-1"):
        ledger.check_fresh("shift", [12, 13], "another command", "")
    with pytest.raises(UsageError, match=r"seed 201 was tuned on before \(shift-1"):
        ledger.check_fresh("shift", [201], "another command", "")
    ledger.check_fresh("shift", [12, 13], "another command", "a reason")
    ledger.check_fresh("shift", [13], "another command", "")
    ledger.check_fresh("shift", [11, 12], "idfer benchmark shift", "")  # the report itself, to be drawn again
    ledger.check_fresh("shift-minority", [11, 12], "another command", "")  # another protocol


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# t\n\n## shift-1\n\n- seeds: 1\n", "shift-1 has no line `- command: ...`"),
        ("# t\n\n## shift-1\n\n- command: `c`\n- seeds: one\n", "names seeds 'one'"),
    ],
)
def test_a_ledger_that_lacks_something_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / LEDGER).write_text(text)
    with pytest.raises(IdferError, match=message):
        Ledger.beside(tmp_path)


def test_every_reported_result_of_this_repository_stands_in_the_ledger() -> None:
    entries = {entry.name: entry for entry in Ledger.beside(RESULTS).entries}
    assert {"shift-1", "shift-2"} <= set(entries)
    results = sorted(
        [*RESULTS.glob("shift*.json"), *RESULTS.glob("ablation*.json"), *RESULTS.glob("decode*.json")]
    )
    assert results
    for path in results:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content["ledger"], list):  # an overview of several reports
            assert content["ledger"] and {*content["ledger"]} <= set(entries)
            continue
        entry = entries[content["ledger"]]
        assert entry.benchmark == path.stem
        assert list(entry.seeds) == content["seeds"]


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_an_entry_names_the_commit_and_how_many_came_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "repository" / "idfer"
    (package / "experiments").mkdir(parents=True)
    monkeypatch.setattr(ledgers, "__file__", str(package / "experiments" / "ledger.py"))
    (package / "experiments" / "ledger.py").touch()

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(
            ["git", "-C", str(package), *who, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert "not from a repository" in ledgers.commit_of_code()
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "somebody else's")
    assert "not from a repository" in ledgers.commit_of_code()
    for number in (1, 2):
        (package / "code.py").write_text(str(number))
        git("add", ".")
        git("commit", "-q", "-m", "change")
        if number == 1:
            name = enter(tmp_path)
    (first,) = Ledger.beside(tmp_path).entries
    assert first.commit == git("rev-parse", "--short", "HEAD~1")
    assert ledgers.changes_since(first).startswith(f"1 commits to src/idfer since {name}")
    (package / "code.py").write_text("3")
    assert ledgers.commit_of_code().endswith("with changes not committed")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`benchmark shift` whose trials are made up: reversed CCC of idfer as told."""

    def tune(self: Study, methods: list[str], seeds: list[int]) -> Any:
        settings = {method: self.plan.settings(method)[0] for method in methods}
        tests = {"balanced": 0.5, "reversed": 0.5}
        return {m: [Tried({}, s, True, 0.5, 0.5, 1.0, tests)] for m, s in settings.items()}, []

    def go(reversed_ccc: float = 0.7, **options: Any) -> dict[str, Any]:
        def report(self: Study, tuning: Any, seeds: list[int], lengths: list[int], problems: Any) -> Any:
            levels = {name: {} for name in tuning} | {"idfer": {"reversed_ccc": reversed_ccc}}
            return {epochs: rows_of_measures(levels, seeds) for epochs in lengths}, []

        monkeypatch.setattr(Study, "tune", tune)
        monkeypatch.setattr(Study, "report", report)
        given = {"methods": "erm,oracle,idfer", "seeds": "11,12", "workers": 1, "progress": False}
        shift.benchmark_shift(out=tmp_path, runs=tmp_path / "runs", **(given | options))
        content: dict[str, Any] = json.loads((tmp_path / "shift.json").read_text())
        return content

    return go


def test_a_report_is_entered_once_and_its_files_name_the_entry(tmp_path: Path, run: Any) -> None:
    content = run()
    assert (content["kind"], content["ledger"]) == ("report", "shift-1")
    (entry,) = Ledger.beside(tmp_path).entries
    assert entry.command == content["command"]
    assert entry.seeds == (11, 12)
    assert entry.tuned_on == (201, 202, 203)
    assert "CCC reversed idfer 0.712" in entry.headline
    assert entry.digest and entry.source == "not known"  # made up: no trial has a result
    assert "Report shift-1 of" in (tmp_path / "shift.md").read_text()
    assert run()["ledger"] == "shift-1"  # the same command and numbers: the same report
    assert len(Ledger.beside(tmp_path).entries) == 1
    with pytest.raises(UsageError, match="gives other numbers now"):
        run(reversed_ccc=0.8)
    with pytest.raises(UsageError, match="seed 12 was reported before"):
        run(seeds="12,13")
    with pytest.raises(UsageError, match=r"seed 12 was reported before .* its tests were seen"):
        run(seeds="21,22", tune_seeds="12,201,202")
    again = run(reversed_ccc=0.8, again="the probe was wrong")
    assert again["ledger"] == "shift-2"
    assert again["command"] == content["command"]
    assert read_chosen(tmp_path / "shift.json") == {"erm": {}, "oracle": {}, "idfer": {}}


def test_development_enters_nothing_says_so_and_overwrites_no_report(tmp_path: Path, run: Any) -> None:
    content = run(development=True, tune_seeds="201")
    assert (content["kind"], content["ledger"]) == ("development, not a report", None)
    assert "--development true" in content["command"]
    assert not (tmp_path / LEDGER).exists()
    assert "(development, not a report)" in (tmp_path / "shift.md").read_text().splitlines()[0]
    run()
    for options in ({"development": True}, {"size": "tiny"}):
        with pytest.raises(UsageError, match=r"shift\.json is a report \(shift-1\) and this run is none"):
            run(**options)


def test_the_tiny_size_is_never_a_report(tmp_path: Path, run: Any) -> None:
    content = run(size="tiny")
    assert content["ledger"] is None
    assert "not a report" in content["kind"]
    assert not (tmp_path / LEDGER).exists()


def test_a_report_keeps_to_the_rule(tmp_path: Path, run: Any) -> None:
    with pytest.raises(UsageError, match="a report needs 3 tuning seeds or more and this run has 2"):
        run(tune_seeds="201,202")
    (tmp_path / "plan.yaml").write_text("settings: 8")
    with pytest.raises(UsageError, match="a report needs 9 settings per method or more and this run has 8"):
        run(plan=tmp_path / "plan.yaml")
    with pytest.raises(UsageError, match="seed 11 is both tuned on and reported"):
        run(tune_seeds="11,201,202")


def test_choices_that_are_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "shift.json").write_text(json.dumps({"summary": {}}))
    with pytest.raises(IdferError, match="says nothing of chosen settings"):
        read_chosen(tmp_path / "shift.json")
    with pytest.raises(IdferError, match=r"none\.json: unreadable"):
        read_chosen(tmp_path / "none.json")
    assert Settings.of(method="erm").epochs  # what a plan without epochs falls back on
