"""The suite on a real checkpoint and the report it makes: numbers agree, the page stands alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch

from idfer import cli
from idfer.attributes.table import AttributeTable
from idfer.data.manifest import RENDERED, Manifest
from idfer.errors import IdferError, UsageError
from idfer.evaluation.evaluation import Evaluation
from idfer.evaluation.metrics import ccc
from idfer.evaluation.suite import measure
from idfer.reporting.folder import check_out
from idfer.reporting.report import evaluate, write_metrics, write_report
from idfer.reporting.style import number
from idfer.results import json_ready
from idfer.training.checkpoint import Checkpoint, load_checkpoint

from evaluated import EACH, PEOPLE, run_folder, write_faces


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Twelve people in two test splits, more in train; brightness tells `skin`; one file is broken."""
    root = tmp_path_factory.mktemp("faces")
    write_faces(root, ("train", "matched", "balanced"))
    (root / "balanced-0-0.png").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("runs") / "mine")


@pytest.fixture(scope="module")
def written(run, faces, tmp_path_factory):
    """What `evaluate` returned, and the folder it wrote."""
    out = tmp_path_factory.mktemp("out") / "deep" / "report"
    return evaluate(run, faces / "manifest.parquet", out=out, device="cpu", progress=False), out


def test_predictions_are_the_networks_own_row_by_row(written, run, faces):
    _, out = written
    table = pd.read_parquet(out / "predictions.parquet")
    manifest = Manifest.read(faces)
    assert set(table["split"]) == {"matched", "balanced"} and len(table) == 2 * PEOPLE * EACH
    checkpoint = load_checkpoint(run)
    from idfer.data.images import read_image

    for line in table.sample(4, random_state=0).to_dict("records"):
        if line["error"]:
            continue
        assert manifest.frame["path"].iloc[line["row"]] == line["path"]
        pixels = torch.from_numpy(read_image(manifest.root / line["path"])).permute(2, 0, 1)[None]
        with torch.inference_mode():
            said = checkpoint.network(checkpoint.preprocess.normalise(pixels)).valence_arousal[0]
        assert said.tolist() == pytest.approx(
            [line["predicted_valence"], line["predicted_arousal"]], abs=1e-5
        )


def test_a_broken_image_is_a_row_with_an_error_and_is_counted(written):
    found, _ = written
    broken = found.predictions[found.predictions["error"] != ""]
    assert broken["path"].tolist() == ["balanced-0-0.png"]
    assert "balanced-0-0.png" in broken["error"].iloc[0]
    assert broken[["predicted_valence", "predicted_arousal"]].isna().all(axis=None)
    assert found.metrics["data"]["splits"]["balanced"] == {"rows": 48, "failed": 1, "subjects": 12, "seen": 0}
    assert found.accuracy.set_index("split").loc["balanced", "rows"].eq(47).all()


def test_metrics_json_is_strict_json_with_the_measured_numbers(written):
    found, out = written

    def refuse(token):
        raise AssertionError(f"{token} in metrics.json")

    stored = json.loads((out / "metrics.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert stored == found.metrics and stored["schema"] == "idfer.metrics/1"
    part = found.predictions[found.predictions["split"] == "matched"]
    value = stored["accuracy"]["matched"]["arousal"]["ccc"]["value"]
    assert value == pytest.approx(float(ccc(part["arousal"], part["predicted_arousal"])))
    probes = pd.DataFrame(stored["leakage"]["probes"])
    assert {"expression", "backbone", "untrained backbone", "labels", "prediction"} == set(probes["features"])
    assert stored["leakage"]["splits"] == ["balanced"] and stored["leakage"]["rows"] == 47
    skin = probes[(probes["target"] == "skin") & (probes["features"] == "backbone")]
    assert (skin["source"] == "ground truth").all() and (skin["score"] > 0.5).all()  # brightness
    assert any(p.startswith("gender: neither") for p in stored["leakage"]["problems"])
    assert stored["environment"]["torch"] and stored["settings"]["seed"] == 0


def test_json_ready_leaves_no_nan():
    ready = json_ready({"a": [np.nan, np.float32(0.5), np.int64(3), np.bool_(True)], 1: (np.inf, None, "x")})
    assert ready == {"a": [None, 0.5, 3, True], "1": [None, None, "x"]}
    json.dumps(ready, allow_nan=False)


def test_detached_examples_are_the_network_under_each_setting(written):
    found, _ = written
    assert list(dict.fromkeys(found.detached["detached"])) == ["none", "gender", "age", "all"]
    own = found.predictions.set_index("row")
    everything = found.detached[found.detached["detached"] == "all"].set_index("row")
    for row, line in everything.iterrows():
        assert line["valence"] == pytest.approx(own.loc[row, "predicted_valence"], abs=1e-5)
    assert found.detached.groupby("row")["arousal"].nunique().max() > 1


def test_retrieved_attributes_are_probed_where_there_is_no_ground_truth(run, faces):
    manifest = Manifest.read(faces)
    levels = {"hat": ["yes", "no"], "skin": ["light", "dark"]}
    wears = np.array([int(s[1:]) % 2 for s in manifest.subjects])
    posterior = np.stack([wears, 1 - wears, wears, 1 - wears], 1).astype(np.float32)
    count = len(manifest)
    table = AttributeTable(
        path=manifest.frame["path"].to_numpy(object), frame=np.full(count, -1), box=(None,) * count,
        errors=np.full(count, "", object), levels=levels, posteriors=posterior,
        embedding=np.ones((count, 2), np.float32), text=np.ones((4, 2), np.float32),
        source={"clip": "builtin"},
    )  # fmt: skip
    found = measure(run, manifest, table, ["matched"], controls=False, device="cpu", progress=False)
    source = found.leakage.set_index("target")["source"].to_dict()
    assert source["hat"] == "retrieved with builtin" and source["skin"] == "ground truth"
    assert set(found.leakage["features"]) == {"expression", "backbone", "prediction"}
    assert found.metrics["leakage"]["splits"] == ["matched"]


def test_same_seed_same_numbers_whatever_the_batch(run, faces):
    manifest = Manifest.read(faces)
    kwargs = {"suites": ["accuracy"], "device": "cpu", "progress": False}
    one = measure(run, manifest, batch_size=7, **kwargs)
    two = measure(run, manifest, batch_size=256, **kwargs)
    assert np.allclose(one.accuracy["value"], two.accuracy["value"], atol=1e-5)
    assert (one.predictions["error"] == two.predictions["error"]).all()
    assert not len(one.leakage)


def test_wrong_requests_are_named(run, faces, tmp_path):
    manifest = Manifest.read(faces)
    with pytest.raises(UsageError, match=r"unknown split 'blanced'\. Did you mean 'balanced'"):
        measure(run, manifest, splits=["blanced"], progress=False)
    with pytest.raises(UsageError, match="unknown suite"):
        measure(run, manifest, suites=["speed"], progress=False)
    with pytest.raises(UsageError, match="no such run folder"):
        evaluate(tmp_path / "nothing", manifest, progress=False)
    with pytest.raises(UsageError, match="no evaluation"):
        write_report([], tmp_path / "r.html")
    broken = Manifest.from_frame(manifest.frame.assign(path="gone.png"), manifest.root)
    with pytest.raises(IdferError, match=r"none of the 96 faces could be read.*gone\.png"):
        measure(run, broken, device="cpu", progress=False)


def test_a_diverged_network_is_an_error_not_a_nan(run, faces):
    good = load_checkpoint(run)
    with torch.no_grad():
        good.network.head[-1].bias.fill_(float("nan"))
    bad = Checkpoint(good.network, good.record, good.name, good.path)
    with pytest.raises(IdferError, match="weights have diverged"):
        measure(bad, Manifest.read(faces), suites=["accuracy"], device="cpu", progress=False)


@pytest.fixture(scope="module")
def budgeted(tmp_path_factory):
    """A run with an information budget: an expression feature of 4 sampled dimensions."""
    return run_folder(tmp_path_factory.mktemp("runs") / "budgeted", code=4)


def test_a_budget_is_certified_over_people_and_per_split(budgeted, run, faces):
    manifest = Manifest.read(faces)
    kwargs = {"suites": ["accuracy"], "device": "cpu", "progress": False}
    found = measure(budgeted, manifest, **kwargs)
    certified = found.metrics["certificate"]
    checkpoint = load_checkpoint(budgeted)
    rates = {}
    for row, line in found.predictions[found.predictions["error"] == ""].iterrows():
        from idfer.data.images import read_image

        pixels = torch.from_numpy(read_image(manifest.root / line["path"])).permute(2, 0, 1)[None]
        with torch.inference_mode():
            said = checkpoint.network(checkpoint.preprocess.normalise(pixels))
        code = torch.distributions.Normal(said.mean, (0.5 * said.log_variance).exp())
        base = torch.distributions.Normal(torch.zeros(4), torch.ones(4))
        rates[row] = float(torch.distributions.kl_divergence(code, base).sum())
    assert certified["rows"] == len(rates) == 95
    assert certified["rate_nats"] == pytest.approx(np.mean(list(rates.values())), rel=1e-4)
    assert 0 < certified["low"] <= certified["rate_nats"] <= certified["high"]
    assert {name: part["rows"] for name, part in certified["splits"].items()} == {
        "matched": 48,
        "balanced": 47,
    }
    assert "upper bound" in certified["meaning"] and "mean" in certified["meaning"]
    assert certified["people"] == 12 and certified["ln_people"] == pytest.approx(np.log(12))
    assert set(certified["attribute_entropy"]) == {"skin"}
    assert certified["beyond_label"] is None  # no features were kept: nothing was probed
    assert "nats about the image" in str(found) and "ln(12 people) = 2.48" in str(found)
    table = found.frame()
    assert table[table["suite"] == "certificate"]["split"].tolist() == ["matched", "balanced"]
    again = measure(budgeted, manifest, batch_size=5, **kwargs).metrics["certificate"]
    assert again["rate_nats"] == pytest.approx(certified["rate_nats"], rel=1e-5)
    assert measure(run, manifest, **kwargs).metrics["certificate"] is None


def test_with_a_budget_the_sample_and_its_mean_are_probed_and_the_mean_predicts(budgeted, faces):
    manifest = Manifest.read(faces)
    kwargs = {"controls": False, "device": "cpu", "progress": False}
    found = measure(budgeted, manifest, **kwargs)
    assert list(found.features) == ["expression", "expression mean", "backbone", "prediction"]
    assert set(found.leakage["features"]) == set(found.features)
    sample, mean = found.features["expression"], found.features["expression mean"]
    checkpoint = load_checkpoint(budgeted)
    with torch.inference_mode():
        said = checkpoint.network.head(torch.from_numpy(mean)).clamp(-1, 1)
    own = found.predictions.set_index("row").loc[found.feature_rows]
    assert own[["predicted_valence", "predicted_arousal"]].to_numpy() == pytest.approx(said.numpy(), abs=1e-5)
    assert 0.01 < np.std(sample - mean) < 1  # noise begins at exp(-5 / 2) and is learned
    other = measure(budgeted, manifest, batch_size=5, seed=0, **kwargs)
    np.testing.assert_allclose(other.features["expression"], sample, atol=1e-4)
    assert "leakage of the mean of the expression feature" in str(found)


class Page(HTMLParser):
    """What a reader's machine would fetch, and what a reader who cannot see would hear."""

    def __init__(self, text: str):
        super().__init__()
        self.addresses: list[str] = []
        self.alts: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.attributes.append((tag, attributes))
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]
        if attributes.get("role") == "img":
            self.alts.append(attributes.get("aria-label") or "")

    def handle_data(self, data):
        self.text += data + " "


@pytest.fixture(scope="module")
def pages(written, budgeted, faces, tmp_path_factory):
    """The page of one run, of two compared, and of one with an information budget beside one without."""
    found, out = written
    folder, third = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("budget")
    plain = measure(run_folder(folder / "plain", (), 1), faces, device="cpu", progress=False, controls=False)
    write_report([plain, found], folder / "report.html", command="idfer <demo>")
    write_metrics([plain, found], folder / "metrics.json")
    write_report([found, measure(budgeted, faces, device="cpu", progress=False)], third / "report.html")
    return {"one": out / "report.html", "two": folder / "report.html", "budget": third / "report.html"}


def test_the_page_certifies_the_run_that_has_a_budget(pages):
    text = {name: " ".join(Page(p.read_text(encoding="utf-8")).text.split()) for name, p in pages.items()}
    certified = "Certificate of budgeted: Beyond what the label says, one draw of the expression feature"
    assert certified in text["budget"] and "Draws and images of a person add up." in text["budget"]
    assert "Certificate of mine" not in text["budget"] and "expression mean" in text["budget"]
    assert "Certificate" not in text["one"] + text["two"]


@pytest.mark.parametrize("which", ["one", "two", "budget"])
def test_the_page_stands_alone_and_can_be_heard(pages, which):
    text = pages[which].read_text(encoding="utf-8")
    page = Page(text)
    assert page.addresses and all(a.startswith("data:image/jpeg;") for a in page.addresses)
    assert not {"script", "link", "iframe", "object", "style href"} & set(page.tags)
    assert "@import" not in text and text.count("url(") == text.count("url(#")
    assert page.tags.count("h1") == 1 and ("html", {"lang": "en"}) in page.attributes
    assert {"main", "table", "caption", "th", "figcaption"} <= set(page.tags)
    assert all(a.get("scope") in ("col", "row") for tag, a in page.attributes if tag == "th")
    assert all("alt" in a for tag, a in page.attributes if tag == "img")
    names = [a["id"] for _, a in page.attributes if a.get("id")]
    assert len(set(names)) == len(names), "two things of one name"
    assert "drawn by a program" in page.text and "perceived" in page.text
    assert "nan" not in page.text.lower().split()
    assert len(text.encode()) < 1_500_000


def test_a_figure_is_heard_in_its_main_numbers_and_points_to_its_table(pages):
    alts = Page(pages["budget"].read_text(encoding="utf-8")).alts
    assert len(alts) == 5, "agreement, leakage, two runs' detached faces, the plane"
    for alt in alts:
        assert "table" in alt and len(alt) < 500 and len(re.findall(r"\d\.\d\d", alt)) >= 4, alt


def test_the_page_shows_the_numbers_of_metrics_json(pages, written):
    found, _ = written
    text = " ".join(Page(pages["one"].read_text(encoding="utf-8")).text.split())
    for split in ("matched", "balanced"):
        for dimension in ("valence", "arousal", "mean"):
            for metric in ("ccc", "pcc", "rmse", "sagr"):
                cell = found.metrics["accuracy"][split][dimension][metric]
                shown = f"{number(cell['value'])} [{number(cell['low'])}, {number(cell['high'])}]"
                assert shown in text, (split, dimension, metric)
    for probe in found.metrics["leakage"]["probes"]:
        assert probe["note"] or number(probe["score"]) in text
    assert "1 unreadable" in text and "gender: neither" in text
    assert "idfer evaluate" in text


def test_two_runs_are_compared_in_pairs(pages):
    stored = json.loads((pages["two"].parent / "metrics.json").read_text(encoding="utf-8"))
    assert [r["run"]["name"] for r in stored["runs"]] == ["plain", "mine"]
    difference = pd.DataFrame(stored["comparison"]).set_index(["split", "dimension", "metric"])
    line = difference.loc[("matched", "mean", "ccc")]
    values = [r["accuracy"]["matched"]["mean"]["ccc"]["value"] for r in stored["runs"]]
    assert line["difference"] == pytest.approx(values[1] - values[0])
    assert (line["model"], line["baseline"]) == ("mine", "plain")
    text = " ".join(Page(pages["two"].read_text(encoding="utf-8")).text.split())
    assert f"mine − plain {number(line['difference'], 2, True)}" in text
    assert "idfer <demo>" in text, "what a user typed is text, not markup"


def test_number_has_a_true_minus_and_says_when_there_is_none():
    assert [number(v) for v in (0.456, -0.456, -0.001, None, float("nan"))] == [
        "0.46", "−0.46", "0.00", "n/a", "n/a",
    ]  # fmt: skip
    assert [number(v, 2, True) for v in (0.456, -0.456, -0.001)] == ["+0.46", "−0.46", "+0.00"]


def test_a_failed_report_keeps_the_old_one(written, tmp_path, monkeypatch):
    found, _ = written
    write_report([found], tmp_path / "report.html")
    before = (tmp_path / "report.html").read_text(encoding="utf-8")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IdferError, match=r"report\.html: No space left"):
        write_report([found], tmp_path / "report.html", title="other")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_tidy_frame_holds_both_suites(written):
    found, _ = written
    assert isinstance(found, Evaluation)
    table = found.frame()
    assert set(table["suite"]) == {"accuracy", "leakage"} and (table["run"] == "mine").all()
    assert len(table) == len(found.accuracy) + len(found.leakage)


def test_photographs_of_people_stay_out_of_the_page_unless_asked_for(run, tmp_path):
    manifest = write_faces(tmp_path, ("matched", "balanced"), source="afew-va")
    kwargs = {"out": tmp_path / "out", "device": "cpu", "progress": False, "controls": False}
    evaluate(run, manifest, **kwargs)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<img" not in text and "<image" not in text and "base64" not in text
    assert "base64" not in (tmp_path / "out" / "metrics.json").read_text(encoding="utf-8")
    assert "--show-faces true" in text and "licences" in text and "drawn by a program" not in text
    words = ["--show-faces", "true", "--controls", "false", "--device", "cpu", "--progress", "false"]
    assert cli.main(["evaluate", str(run), str(manifest), "-o", str(tmp_path / "out"), *words]) == 0
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert (
        text.count("<img") == text.count("base64") == 24 + 4
    )  # the sheet, and the faces with detached attributes
    assert "--show-faces true" in text, "the command that made it"


def test_one_photograph_among_drawn_faces_keeps_them_all_out(run, tmp_path):
    manifest = Manifest.read(write_faces(tmp_path, ("matched",)))
    manifest.frame.loc[0, "source"] = ""
    found = measure(run, manifest, suites=["accuracy"], device="cpu", progress=False)
    assert found.metrics["data"]["drawn"] is False
    assert "<img" not in write_report([found], tmp_path / "r.html").read_text(encoding="utf-8")


def test_drawn_and_rendered_faces_together_are_shown_and_no_photographs(run, tmp_path):
    manifest = Manifest.read(write_faces(tmp_path, ("matched",)))
    manifest.frame.loc[::2, "source"] = RENDERED
    found = measure(run, manifest, suites=["accuracy"], device="cpu", progress=False)
    data = found.metrics["data"]
    assert (data["drawn"], data["synthetic"]) == (False, True)
    text = write_report([found], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<img" in text and "drawn by a program" in text and "licences forbid" not in text


def test_drawn_faces_can_be_left_out_too(written, tmp_path):
    found, _ = written
    shown = write_report([found], tmp_path / "a.html").read_text(encoding="utf-8")
    hidden = write_report([found], tmp_path / "b.html", show_faces=False).read_text(encoding="utf-8")
    assert shown.count("<img") == 24 + 4 and "base64" not in hidden


def test_checks_stand_before_the_numbers_in_words(written, tmp_path):
    found, out = written
    checks = found.metrics["checks"]
    assert {check["code"] for check in checks} == {"IDF101", "IDF109"}, "an untrained network; a broken file"
    text = Page((out / "report.html").read_text(encoding="utf-8")).text
    for check in checks:
        assert 0 < text.index(check["message"]) < text.index("In short")
    assert text.index("IDF101") < text.index("IDF109"), "the worst first"


@pytest.mark.parametrize("name", ["metrics.json", "report.html", "predictions.parquet"])
def test_a_users_own_file_is_not_replaced(run, faces, tmp_path, name):
    (tmp_path / name).write_text('{"schema": "mine"}')
    with pytest.raises(UsageError, match=f"{name} was not written by idfer.*choose another -o"):
        evaluate(run, faces, out=tmp_path, progress=False)
    assert (tmp_path / name).read_text() == '{"schema": "mine"}'
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_our_own_report_is_replaced_and_one_beside_a_strangers_is_not(written, tmp_path):
    _, out = written
    shutil.copytree(out, tmp_path / "out")
    check_out(tmp_path / "out")
    old = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    without = "\n".join(line for line in old.splitlines() if "generator" not in line)
    (tmp_path / "out" / "report.html").write_text(without, encoding="utf-8")
    check_out(tmp_path / "out")  # a page of idfer 0.1, which named no generator
    (tmp_path / "out" / "metrics.json").write_text("[1")
    with pytest.raises(UsageError, match=r"metrics\.json was not written"):
        check_out(tmp_path / "out")


@pytest.mark.parametrize("kind", ["file", "below a file", "fifo", "folder", "long", "nul", "empty", "link"])
def test_a_bad_output_is_noticed_before_any_work(tmp_path, kind):
    (tmp_path / "file").write_text("x")
    (tmp_path / "holds").mkdir()
    out = {
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "x" / "y",
        "nul": "a\0b",
        "empty": "",
    }
    out |= {"long": tmp_path / ("n" * 300) / "x", "link": tmp_path / "link" / "x"}
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    if kind == "fifo":
        os.mkfifo(tmp_path / "holds" / "metrics.json")
    elif kind == "folder":
        (tmp_path / "holds" / "report.html").mkdir()
    with pytest.raises(UsageError, match=r"choose another -o|give -o a folder"):
        evaluate("no-such-run", "no-such-manifest", out=out.get(kind, tmp_path / "holds"), progress=False)


def test_a_folder_that_cannot_be_written_is_noticed_before_any_work(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", full)  # whoever runs the tests may write everywhere
    with pytest.raises(UsageError, match="Read-only file system; choose another -o"):
        evaluate("no-such-run", "no-such-manifest", out=tmp_path / "new" / "deep", progress=False)
    assert not (tmp_path / "new").exists()
