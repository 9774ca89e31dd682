"""The suite on a real checkpoint and the report it makes: numbers agree, the page stands alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch

from idfer.attributes.table import AttributeTable
from idfer.data.images import Preprocess
from idfer.data.manifest import Manifest
from idfer.errors import IdferError, UsageError
from idfer.evaluation.evaluation import Evaluation
from idfer.evaluation.metrics import ccc
from idfer.evaluation.suite import measure
from idfer.models.network import Network
from idfer.reporting.report import evaluate, number, write_metrics, write_report
from idfer.results import json_ready
from idfer.training.checkpoint import Checkpoint, load_checkpoint

from runs import record_of, write_run

SIZE, PEOPLE, EACH = 32, 12, 4


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Twelve people in two test splits, more in train; brightness tells `skin`; one file is broken."""
    from PIL import Image

    root = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    rows = []
    for split in ("train", "matched", "balanced"):
        for person in range(PEOPLE):
            skin = person / PEOPLE
            for i in range(EACH):
                name = f"{split}-{person}-{i}.png"
                pixels = np.clip(60 + 120 * skin + rng.normal(0, 20, (SIZE, SIZE, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(root / name)
                valence, arousal = rng.uniform(-1, 1, 2)
                who = f"{'t' if split == 'train' else 'p'}{person}"
                rows.append((name, who, split, valence, arousal, 1 + 9 * skin))
    table = pd.DataFrame(rows, columns=["path", "subject", "split", "valence", "arousal", "factor.skin"])
    table["source"] = "idfer.synthetic"
    (root / "balanced-0-0.png").write_bytes(b"")
    manifest = Manifest.from_frame(table, root)
    manifest.write(root / "manifest.parquet")
    return root


def run_folder(folder, attributes=("gender", "age"), seed=0, **options):
    torch.manual_seed(seed)
    network = Network("test_resnet", SIZE, attributes, dim=8, **options).eval()
    contract = Preprocess(SIZE)
    record = record_of("test_resnet", attributes, 8, contract, **options)
    return write_run(folder, network, record)


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
    assert found.metrics["data"]["splits"]["balanced"] == {"rows": 48, "failed": 1, "subjects": 12}
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
    assert {"expression", "backbone", "untrained backbone", "labels"} == set(probes["features"])
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
    assert set(found.leakage["features"]) == {"expression", "backbone"}
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
    assert "nats about the image" in str(found)
    table = found.frame()
    assert table[table["suite"] == "certificate"]["split"].tolist() == ["matched", "balanced"]
    again = measure(budgeted, manifest, batch_size=5, **kwargs).metrics["certificate"]
    assert again["rate_nats"] == pytest.approx(certified["rate_nats"], rel=1e-5)
    assert measure(run, manifest, **kwargs).metrics["certificate"] is None


def test_with_a_budget_the_sample_and_its_mean_are_probed_and_the_mean_predicts(budgeted, faces):
    manifest = Manifest.read(faces)
    kwargs = {"controls": False, "device": "cpu", "progress": False}
    found = measure(budgeted, manifest, **kwargs)
    assert list(found.features) == ["expression", "expression mean", "backbone"]
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
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]
        if tag == "img":
            self.alts.append(found.get("alt") or "")

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
    assert "Certificate of budgeted: a sampled expression feature carries at most" in text["budget"]
    assert "Certificate of mine" not in text["budget"] and "expression mean" in text["budget"]
    assert "Certificate" not in text["one"] + text["two"]


@pytest.mark.parametrize("which", ["one", "two", "budget"])
def test_the_page_stands_alone_and_can_be_heard(pages, which):
    text = pages[which].read_text(encoding="utf-8")
    page = Page(text)
    assert page.addresses and all(a.startswith("data:image/") for a in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "@import" not in text and "url(" not in text
    assert all(len(alt) > 10 for alt in page.alts) and page.tags.count("h1") == 1
    assert {"main", "table", "caption", "th", "figcaption"} <= set(page.tags)
    assert "drawn by a program" in page.text and "perceived" in page.text
    assert "nan" not in page.text.lower().split()
    assert len(text.encode()) < 1_500_000


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


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine to open the page with")
@pytest.mark.parametrize(("name", "width"), [("one", 1200), ("two", 400), ("budget", 1200)])
def test_a_real_browser_shows_the_page(pages, tmp_path, name, width):
    from PIL import Image

    shot = tmp_path / "shot.png"
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars",
        "--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}",
        f"--window-size={width},2400", "--enable-logging=stderr", "--v=0", pages[name].as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert shot.is_file(), done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr, done.stderr
    pixels = np.asarray(Image.open(shot).convert("RGB"), float)
    assert pixels.std() > 10, "the page is blank"
    bands = pixels.reshape(12, -1).std(axis=1)
    assert (bands > 2).all(), "a part of the page is blank"
