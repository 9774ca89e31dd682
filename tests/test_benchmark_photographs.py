"""`benchmarks/photographs.py`: AUC against an explicit count, sets read as they are, a line in the ledger."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from idfer.synthetic.factors import sample
from idfer.synthetic.render import render

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """A file of benchmarks/, by name, as the names that it defines."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda name: runpy.run_path(str(BENCHMARKS / f"{name}.py"))


def test_auc_counts_pairs_of_different_people_and_its_interval_holds_it(script: Any) -> None:
    rng = np.random.default_rng(0)
    names = [f"p{number}" for number in rng.integers(20, size=60)]
    scores, upper = rng.normal(size=60).round(1), rng.random(60) < 0.4
    scores[upper] += 1
    found = script("ranking")["People"].named(names).auc(scores, upper, ~upper)
    pairs = [
        1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
        for i in np.flatnonzero(upper)
        for j in np.flatnonzero(~upper)
        if names[i] != names[j]
    ]
    assert found.value == pytest.approx(np.mean(pairs))
    plain = found.plain()
    assert plain["low"] < plain["value"] < plain["high"] and plain["high"] - plain["low"] > 0.05


def test_an_interval_covers_the_truth_about_as_often_as_it_says(script: Any) -> None:
    people, rng, covered = script("ranking")["People"], np.random.default_rng(1), 0
    truth, trials = 0.7602, 100  # P(N(1, 1) > N(0, 1))
    for trial in range(trials):
        scores = np.r_[rng.normal(1, 1, 60), rng.normal(0, 1, 60)]
        upper = np.arange(120) < 60
        drawn = people.named([f"{n}" for n in range(120)], seed=trial, replicates=300)
        plain = drawn.auc(scores, upper, ~upper).plain()
        covered += plain["low"] <= truth <= plain["high"]
    assert covered >= 87, "95 of 100 expected"


def test_the_same_person_is_compared_with_itself_and_groups_by_people(script: Any) -> None:
    names = ["a", "a", "b", "b", "c", "d"]
    scores = np.array([1.0, 0.0, 0.0, 1.0, 0.4, 0.6])
    smile = np.array([True, False, True, False, True, False])
    people = script("ranking")["People"].named(names)
    assert people.within(scores, smile, ~smile).value == 0.5, "a right, b wrong; c and d have no pair"
    first = np.array([True, True, False, False, True, False])
    assert people.difference(scores, first, ~first).value == pytest.approx((0.5 + 0.4) / 2 - (0.5 + 0.6) / 2)


def test_two_models_differ_by_less_than_each_is_uncertain(script: Any) -> None:
    rng = np.random.default_rng(3)
    upper = np.arange(80) < 40
    shared = rng.normal(size=80) + upper
    people = script("ranking")["People"].named([str(n) for n in range(80)])
    one, two = (people.auc(shared + rng.normal(0, 0.1, 80), upper, ~upper) for _ in range(2))
    apart, alone = one.minus(two).plain(), one.plain()
    assert apart["high"] - apart["low"] < 0.5 * (alone["high"] - alone["low"])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of muxspace/facial_expressions, of drawn faces, with its legend's oddities."""
    root = tmp_path / "mux"
    (root / "images").mkdir(parents=True)
    (root / "data").mkdir()
    faces = sample(25, 1, seed=2)
    words = ["happiness", "NEUTRAL", "sadness", "Anger", "surprise"] * 5
    lines = ["user.id,image,emotion"]
    for number, (pixels, word) in enumerate(zip(render(faces, 64), words, strict=True)):
        name = f"Some_Body{number % 20}_{number // 20 + 1:04d}.png"
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(root / "images" / name)
        lines.append(f"1,{name},{word}")
    lines += [lines[1], "2,Some_Body1_0001.png,sadness", "2,gone.png,neutral", "2,again.png,HAPPINESS"]
    (root / "images" / "again.png").write_bytes((root / "images" / "Some_Body0_0001.png").read_bytes())
    (root / "data" / "legend.csv").write_text("\n".join(lines) + "\n")
    return root


def test_a_legend_s_oddities_are_counted_and_no_picture_counts_twice(script: Any, checkout: Path) -> None:
    read = script("photograph_sets")["muxspace"]
    found = read(checkout, count=100)
    assert found.counts == {
        "listed": 29, "listed twice": 2, "missing": 1, "same picture under two names": 1, "words disagree": 1,
    }  # fmt: skip
    assert found.frame["expression"].value_counts()["neutral"] == 4, "one has two words"
    assert found.frame["expression"].value_counts()["happiness"] == 5
    assert found.frame["subject"].nunique() == 20, "the same people under LFW's numbers"
    few = read(checkout, count=2)
    assert len(few.frame) == 10 and few.frame.equals(read(checkout, count=2).frame)
    assert not few.frame.equals(read(checkout, count=2, seed=1).frame)


def test_people_are_told_apart_by_first_names_that_say_something(
    script: Any, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = {
        "Anna_Able_0001": "neutral", "Anna_Able_0002": "happiness", "Anna_Able_0003": "Neutral",
        "Paul_Able_0001": "neutral", "Mary_Able_0001": "happiness", "Sunny_Able_0001": "neutral",
        "David_de_Able_0001": "neutral", "David_de_Able_0002": "anger", "Anna": "neutral",
    }  # fmt: skip
    with (checkout / "data" / "legend.csv").open("a") as legend:
        for face, (name, word) in zip(render(sample(9, 1, seed=3), 64), shown.items(), strict=True):
            Image.fromarray(face.permute(1, 2, 0).numpy()).save(checkout / "images" / f"{name}.png")
            legend.write(f"3,{name}.png,{word}\n")
    read = script("photograph_sets")["muxspace_people"]
    frame = read(checkout).frame
    said = sorted(frame[["subject", "expression", "first name"]].itertuples(index=False, name=None))
    assert said == [
        ("Anna_Able", "neutral", "women's"), ("Anna_Able", "smile", "women's"),
        ("David_de_Able", "neutral", "men's"), ("Paul_Able", "neutral", "men's"),
    ]  # fmt: skip
    assert {read(checkout, seed=seed).frame["path"].iloc[0] for seed in range(9)} == {
        "images/Anna_Able_0001.png", "images/Anna_Able_0003.png",
    }  # fmt: skip
    assert read(checkout).counts["first names not in the list"] == 5, "Sunny and four of Some_Body"
    script_main, out = script("photographs")["main"], tmp_path / "results"
    out.mkdir()
    words = ["synthetic-tiny", "--people", "--detector", "none", "--results", str(out)]
    scores = tmp_path / "scores.csv"
    assert script_main([*words, "--muxspace", str(checkout), "--scores", str(scores)]) == 0
    assert "first name" not in pd.read_csv(scores).columns
    kept = json.loads((out / "photographs.json").read_text())["muxspace-people"]["none"]["synthetic-tiny"]
    assert kept["seed 0"]["photographs"] == {"neutral": 3, "smile": 1}
    with pytest.raises(SystemExit):
        script_main(words)
    assert "--people is of a checkout" in capsys.readouterr().err


def test_first_names_are_of_one_list_each() -> None:
    lists = yaml.safe_load((BENCHMARKS / "first_names.yaml").read_text())
    assert set(lists) == {"women", "men"} and not set(lists["women"]) & set(lists["men"])
    assert all(len(set(names)) == len(names) > 100 for names in lists.values())


def test_a_model_is_measured_and_the_ledger_has_one_line_more(
    script: Any, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main, out = script("photographs")["main"], tmp_path / "results"
    out.mkdir()
    words = ["synthetic-tiny", "--muxspace", str(checkout), "--detector", "none", "--results", str(out)]
    assert main(words) == 0
    record = json.loads((out / "photographs.json").read_text())["muxspace"]["none"]["synthetic-tiny"][
        "seed 0"
    ]
    measures = record["models"]["synthetic-tiny"]["measures"]
    assert len(measures) == 5 and all(0 <= m["value"] <= 1 for m in measures.values())
    assert sum(record["seen"].values()) == 24 and record["no face found"] == 0
    ledger = (out / "photographs.md").read_text()
    assert ledger.count("synthetic-tiny") == 1 and "6000 drawn faces" in ledger
    assert main(words) == 0 and main([*words, "--seed", "5", "--count", "3"]) == 0
    assert (out / "photographs.md").read_text().count("synthetic-tiny") == 2, "the same line is not repeated"
    kept = json.loads((out / "photographs.json").read_text())["muxspace"]["none"]["synthetic-tiny"]
    assert kept["seed 0"] == record and kept["seed 5, 3 a class"]["photographs"]["neutral"] == 3
    assert "| 0 | development |" in (out / "photographs.md").read_text()
    assert "| 5, 3 a class | development |" in (out / "photographs.md").read_text()
    assert main([*words, "--against", "synthetic-tiny"]) == 2
    assert "--name" in capsys.readouterr().err
    assert main([*words, "--against", "synthetic-tiny", "--name", "itself"]) == 0
    both = json.loads((out / "photographs.json").read_text())["muxspace"]["none"]["itself - synthetic-tiny"]
    both = both["seed 0"]
    assert all(m["value"] == m["low"] == m["high"] == 0 for m in both["difference"].values())
    assert "muxspace, differences" in (out / "photographs.md").read_text()


def test_a_file_of_one_record_per_model_is_kept_by_seed(script: Any, tmp_path: Path) -> None:
    old = {"muxspace": {"yunet": {"a": {"seed": 7, "models": {"a": {}}, "note": "old"}}}}
    (tmp_path / "photographs.json").write_text(json.dumps(old))
    record = {
        "set": "muxspace", "detector": "yunet", "seed": 0, "draw": "seed 0", "note": "new",
        "models": {"a": {"recipe": "", "weights": "", "measures": {}}}, "photographs": {}, "seen": {},
        "date": "", "source": "",
    }  # fmt: skip
    for _ in range(2):  # what was kept by seed stays so
        script("photographs")["keep"](record, tmp_path)
        kept = json.loads((tmp_path / "photographs.json").read_text())["muxspace"]["yunet"]["a"]
        assert {draw: one["note"] for draw, one in kept.items()} == {"seed 7": "old", "seed 0": "new"}


def test_a_line_goes_into_the_table_of_its_columns(script: Any, tmp_path: Path) -> None:
    append, file = script("photograph_ledger")["append"], tmp_path / "ledger.md"
    for number, columns in enumerate(("ab", "abc", "ab")):
        assert append(file, "set", {"date": "today", **dict.fromkeys(columns, str(number))})
    assert file.read_text().partition("## set\n\n")[2] == (
        "| date | a | b |\n| --- | --- | --- |\n| today | 0 | 0 |\n| today | 2 | 2 |\n\n"
        "| date | a | b | c |\n| --- | --- | --- | --- |\n| today | 1 | 1 | 1 |\n"
    )


def test_photographs_without_a_subject_are_people_of_their_own(script: Any, tmp_path: Path) -> None:
    rows = [("a.png", "ann", "smile"), ("b.png", None, "neutral"), ("c.png", None, "smile")]
    table = tmp_path / "mine.csv"
    pd.DataFrame(rows, columns=["path", "subject", "expression"]).to_csv(table, index=False)
    assert script("photograph_sets")["own"](table).frame["subject"].tolist() == ["ann", "b.png", "c.png"]


def test_photographs_of_one_s_own_as_folders_and_as_a_table(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, rows = tmp_path / "mine", []
    calm = sample(24, 1, seed=6)
    for word, valence, au12 in (("neutral", 0.0, 0.0), ("Smile", 0.9, 1.0)):
        (root / word).mkdir(parents=True)
        shown = calm.replace(valence=valence, au12=au12, au6=au12, au15=0.0, au4=0.0)
        for number, pixels in enumerate(render(shown, 64)):
            path = f"{word}/{number}.png"
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(root / path)
            gender = "woman" if calm.gender[number] < 0.5 else "man"
            rows.append({"path": path, "subject": number, "expression": word, "gender": gender})
    main, out = script("photographs")["main"], tmp_path / "results"
    out.mkdir()
    words = ["synthetic-tiny", "--detector", "none", "--results", str(out), "--photographs"]
    assert main([*words, str(root)]) == 0
    measures = json.loads(capsys.readouterr().out)["models"]["synthetic-tiny"]["measures"]
    assert measures["smile over neutral, same person"]["value"] > 0.9
    assert set(measures) == {"smile over neutral, same person", "smile over neutral, across people"}

    rows.append({"path": "gone.png", "subject": 0, "expression": "puzzled", "gender": "man"})
    pd.DataFrame(rows).to_csv(root / "mine.csv", index=False)
    assert main([*words, str(root / "mine.csv")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["counts"] == {"other expressions": 1, "people": 24}
    named = [name for name in record["models"]["synthetic-tiny"]["measures"] if "gender" in name]
    assert len(named) == 1 and "woman" in named[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--muxspace", "{}"], "legend.csv: not there"),
        (["--photographs", "{}"], "no photograph of a neutral face"),
        (["--photographs", "{}/none.txt"], "neither a folder nor a table"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    script: Any, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(tmp_path) for word in words]
    assert script("photographs")["main"](["synthetic-tiny", *given, "--results", str(tmp_path)]) > 0
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
