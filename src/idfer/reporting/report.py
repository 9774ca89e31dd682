"""`evaluate`: measure a run and write metrics.json, predictions.parquet and report.html."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import IdferError, UsageError
from idfer.files import atomic
from idfer.names import split_names
from idfer.reporting.folder import METRICS, PREDICTIONS, REPORT, check_out
from idfer.reporting.page import write_page

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.evaluation.evaluation import Evaluation
    from idfer.types import FaceModel


def evaluate(
    run: str | Path | FaceModel,
    manifest: str | Path | Manifest,
    attributes: str | Path | AttributeTable | None = None,
    out: str | Path | None = None,
    splits: list[str] | str | None = None,
    detector: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    seed: int = 0,
    controls: bool = True,
    show_faces: bool | None = None,
    protocol: str | None = None,
    progress: bool = True,
) -> Evaluation:
    """Measure how well a model reads valence and arousal, and what its features tell about the person.

    Accuracy (RMSE, SAGR, PCC, CCC) per split with intervals over people; leakage of gender presentation,
    age and skin tone from the expression feature and from the plain backbone, by probes tested on people
    they were not fitted to; for a run with an information budget its certificate, an upper bound on what a
    sampled expression feature can tell about identity. On faces of `idfer synth --cross true` also how far
    predictions of one and the same expression change with the person, and with each attribute. Where the run
    has a decoder (`idfer decode fit`), report.html also shows what it draws and who is identified from that.

    Args:
        run: a run's folder, a shipped model's name, or module:NAME of a model of your own; in Python any
            idfer.types.FaceModel.
        manifest: manifest.parquet, or a CSV with columns path, valence, arousal.
        attributes: attributes.parquet of `idfer retrieve`, for data without ground-truth attributes and for
            runs whose residual form reads retrieved ID vectors.
        out: folder for metrics.json, predictions.parquet and report.html; None writes nothing.
        splits: which splits, e.g. balanced,reversed; all but `train` by default.
        detector: what finds faces that the manifest does not place; as in training by default.
        batch_size: faces per forward pass.
        device: auto, cpu, cuda, cuda:N or mps.
        seed: of probes and bootstrap.
        controls: also probe an untrained backbone and the labels themselves.
        show_faces: put pictures of faces into report.html; by default only of faces that `idfer synth` drew,
            since most data licences forbid to pass photographs of people on.
        protocol: also compute the metrics as some authors' code does (elim, avce, caf or emonet), to stand
            beside their published tables; named in the report, never in place of the metrics above.
        progress: show a progress bar.

    Raises:
        UsageError: an unknown run, split, protocol or device; `out` cannot be written, or holds a file of
            these names that idfer did not write.
        IdferError: unusable data, or a full disk.
    """
    from idfer.data.manifest import Manifest
    from idfer.evaluation.suite import measure
    from idfer.reporting.decoded import decoded, has_decoder

    if out is not None:
        check_out(out)
    evaluation = measure(
        run, manifest, attributes, split_names(splits), detector=detector, batch_size=batch_size,
        device=device, seed=seed, controls=controls, protocol=protocol, progress=progress,
    )  # fmt: skip
    if out is None:
        return evaluation
    folder = Path(out)
    write_metrics([evaluation], folder / METRICS)
    with atomic(folder / PREDICTIONS) as temporary:
        evaluation.predictions.to_parquet(temporary, index=False)
    words: list[object] = ["idfer", "evaluate", run if isinstance(run, (str, Path)) else evaluation.name]
    words += [evaluation.metrics["data"]["manifest"], "-o", out, "--seed", seed]
    words += ["--attributes", attributes] if isinstance(attributes, (str, Path)) else []
    words += ["--splits", ",".join(split_names(splits) or [])] if splits is not None else []
    words += ["--detector", detector] if detector is not None else []
    words += ["--show-faces", str(show_faces).lower()] if show_faces is not None else []
    words += ["--protocol", protocol] if protocol is not None else []
    words += [] if controls else ["--controls", "false"]
    command = shlex.join(str(word) for word in words)
    pictures = []
    if has_decoder(run):
        assert isinstance(run, (str, Path))
        faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
        looked_at = faces.select(evaluated) if (evaluated := _splits(evaluation)) else faces
        shown = evaluation.metrics["data"]["synthetic"] if show_faces is None else show_faces
        try:
            pictures.append(decoded(run, looked_at, device=device, seed=seed, show_faces=shown))
        except IdferError as error:  # e.g. the run was trained again; its numbers are worth as much without
            print(f"idfer: the report shows no drawn faces: {error}", file=sys.stderr)
    write_report(
        [evaluation], folder / REPORT, command=command, show_faces=show_faces,
        decodings=[shown for shown in pictures if shown is not None],
    )  # fmt: skip
    return evaluation


def _splits(evaluation: Evaluation) -> list[str]:
    """The splits that were evaluated; none where the manifest has none."""
    return [name for name in dict.fromkeys(evaluation.predictions["split"]) if name]


def write_metrics(evaluations: Sequence[Evaluation], path: str | Path) -> Path:
    """Write metrics.json: one evaluation's metrics, or {"runs": [...], "comparison": [...]} of several.

    Undefined values are null; the file never holds NaN.
    """
    from idfer.reporting.content import comparison
    from idfer.results import write_json

    if len(evaluations) == 1:
        content: dict[str, Any] = evaluations[0].metrics
    else:
        content = {
            "schema": evaluations[0].metrics["schema"],
            "runs": [e.metrics for e in evaluations],
            "comparison": comparison(evaluations).to_dict("records"),
        }
    return write_json(path, content)


def write_report(
    evaluations: Sequence[Evaluation],
    path: str | Path,
    title: str = "",
    command: str = "",
    show_faces: bool | None = None,
    decodings: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write one self-contained HTML page on one run, or on several measured on the same manifest.

    Args:
        evaluations: what `measure` returned; the first is the baseline of comparisons.
        path: the HTML file.
        title: the page's title; made from the runs' names when empty.
        command: the command that made it, shown under provenance.
        show_faces: put pictures of faces into the page; None does so only where `idfer synth` drew them all.
        decodings: what `idfer.reporting.decoded` gives of runs with a decoder.

    Raises:
        UsageError: no evaluation.
        IdferError: the file cannot be written; what stood there is kept.
    """
    if not evaluations:
        raise UsageError("no evaluation to report on.")
    from idfer.reporting.content import page_content

    content = page_content(evaluations, show_faces)
    names = content["names"]
    title = title or f"How {' and '.join(names)} {'read' if len(names) > 1 else 'reads'} faces"
    return write_page(
        "report.html.jinja", path, title=title, command=command, decodings=list(decodings), **content
    )
