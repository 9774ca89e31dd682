"""`benchmark decode`: what decoders draw from features, against the faces that should have come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from idfer.errors import unknown
from idfer.experiments.decode_trial import CEILING, CONTROL, OURS, PHOTOGRAPHS, job
from idfer.experiments.jobs import Workers, fail, failures, run_jobs
from idfer.files import atomic
from idfer.ranges import check_at_least

if TYPE_CHECKING:
    from idfer.evaluation.bootstrap import Estimate

SEEDS = "31,32,33"
EPOCHS = {"fast": 16, "flow": 40}
SHOWN = {
    "reconstruct_psnr": "all features: PSNR (dB)",
    "reconstruct_ssim": "all features: SSIM",
    "reconstruct_distance": "all features: perceptual distance",
    "reconstruct_frechet": "all features: Frechet distance",
    "reconstruct_va_rmse": "all features: valence and arousal against the face's, RMSE",
    "swap_psnr": "swap: PSNR where people differ (dB)",
    "swap_ssim": "swap: SSIM",
    "swap_distance": "swap: perceptual distance",
    "swap_frechet": "swap: Frechet distance",
    "swap_va_rmse": "swap: valence and arousal against the source's, RMSE",
    "swap_named": "swap: judge names the giver",
    "edit_moves": "one attribute lent: how far it moves",
    "edit_spills": "one attribute lent: how far the others move",
    "edit_taken": "one attribute lent: CLIP names the giver's level",
    "detach_psnr": "ID-neutral: PSNR against everybody's mean (dB)",
    "neutral_spread": "ID-neutral: spread over people",
    "identify_mean": "identified from the mean feature, decoded",
    "identify_sampled": "identified from one draw, decoded",
    "identify_averaged": "identified from 16 draws averaged, decoded",
    "feature_mean": "identified from the mean feature itself",
    "feature_sampled": "identified from one draw itself",
    "feature_averaged": "identified from 16 draws averaged, themselves",
}
TARGETS = {
    "swap_psnr_gain_db": ("swap, gain over ERM's feature (dB)", 3.0, True),
    "detach_psnr_gain_db": ("ID-neutral, gain over ERM's feature (dB)", 3.0, True),
    "swap_va_rmse": ("valence and arousal of the swap, RMSE against the source's", 0.15, False),
    "identify_sampled_over_chance": ("identification from a draw, over chance", 2.0, False),
    "identify_mean_over_erm": ("identification from the mean, over ERM's", 0.25, False),
    "neutral_distance_ratio": ("spread of ID-neutral faces over photographs'", 0.3, False),
}


def benchmark_decode(
    out: str | Path = "benchmarks/results",
    runs: str | Path = "runs/decode",
    seeds: list[int] | str = SEEDS,
    kind: Literal["fast", "flow"] = "fast",
    epochs: int | None = None,
    settings: str | Path | None = None,
    development: bool = False,
    again: str = "",
    workers: int | None = None,
    size: Literal["full", "tiny"] = "full",
    progress: bool = True,
) -> str:
    """Draw faces back from features, and compare with what they should be.

    On drawn faces the truth of every edit is known: on a full cross, the person who lends an identity shows
    every expression. A decoder of idfer's features is compared with one of ERM's feature (with the same
    identity features beside it) and with one of the true factors. Writes decode.md, decode.json and
    decode.png (decode-flow of flows) and sheets of faces of the first seed as decode-NAME.webp, and enters a
    report in the ledger history.md beside them. Finished seeds are kept, and so are runs and decoders until
    the code that trained them changes; a decoder goes on from its last epoch.

    Args:
        out: folder of the results and of their ledger.
        runs: folder of faces, runs and finished seeds.
        seeds: of people, weights and order.
        kind: of the decoders, as for `idfer decode fit`.
        epochs: of the decoders; 16 of fast ones by default, 40 of flows.
        settings: shift.json whose chosen settings the runs are trained with; the defaults without.
        development: look at anything, report nothing: no line in the ledger, and the files say so.
        again: why seeds that were reported before are reported once more; stands in the ledger.
        workers: processes; as many as there are cores by default.
        size: full, or tiny (seconds; shows that everything works, measures nothing).
        progress: show progress bars.

    Returns:
        The targets, and where the files are.

    Raises:
        UsageError: seeds that were reported before, or no such setting.
        IdferError: jobs failed; each is named and the others are kept.
    """
    from idfer.experiments.command import command_line
    from idfer.experiments.decode_chart import chart
    from idfer.experiments.grid import Plan
    from idfer.experiments.ledger import REPORT, Ledger, kind_of
    from idfer.experiments.protocol import sized
    from idfer.experiments.seeds import numbers
    from idfer.experiments.shift import PLAN
    from idfer.experiments.tables import columns
    from idfer.experiments.tuning import read_chosen
    from idfer.experiments.writer import write_results
    from idfer.training.settings import Settings

    asked = numbers("seeds", seeds)
    protocol, changes = sized(size)
    budget = {**Plan.read(PLAN).budget, **changes}
    chosen = read_chosen(settings) if settings is not None else {}
    of = {name: Settings.of(method=name, **{**budget, **chosen.get(name, {})}) for name in (OURS, CONTROL)}
    if kind not in EPOCHS:
        raise unknown("kind", kind, list(EPOCHS))
    name = named(kind)
    length = (1 if size == "tiny" else EPOCHS[kind]) if epochs is None else epochs
    check_at_least(length, 1, "--epochs")
    standing = kind_of(size, development)
    command = command_line(
        ("benchmark", "decode"), seeds=None if seeds == SEEDS else asked,
        kind=None if kind == "fast" else kind, epochs=epochs, settings=settings,
        development=development or None, size=None if size == "full" else size,
    )  # fmt: skip
    ledger = Ledger.beside(Path(out))
    ledger.check_allowed(standing, name, asked, command, again)
    jobs = [job(protocol, seed, of[OURS], of[CONTROL], length, kind) for seed in asked]
    where, crew = Path(runs), Workers.of(workers, False)
    results = run_jobs(jobs, where, crew, "decoders", progress)
    fail(failures(jobs, results))
    finished = [result for result in results if not isinstance(result, str)]
    rows = [result["scores"] for result in finished]
    source = sorted({result["source"] for result in finished})
    people = protocol.cross[0]
    summary = {name: asdict(estimate) for name, estimate in summarised(rows, people).items()}
    said = "; ".join(f"{TARGETS[name][0]} {of_it['value']:.2f}" for name, of_it in summary.items())
    entry = None
    if standing == REPORT:
        entry = ledger.enter(name, command, asked, [], said, again, {0: summary}, ", ".join(source))
    content = {
        "kind": standing, "ledger": entry and entry.name, "command": command, "seeds": asked,
        "decoder": kind, "epochs": length, "source": source,
        "settings": {name: settings.to_dict() for name, settings in of.items()},
        "summary": {name: of_it["value"] for name, of_it in summary.items()},
        "intervals": {name: [of_it["low"], of_it["high"]] for name, of_it in summary.items()},
        "means": _means(rows), "rows": [{"seed": seed, **row} for seed, row in zip(asked, rows, strict=True)],
    }  # fmt: skip
    table = target_table(summary)
    pictures = _kept_sheets(where / finished[0]["sheets"], Path(out), name)
    files = write_results(Path(out), name, content, markdown(content, table, pictures), chart(rows))
    return f"{columns(table)}\n\n{files}\n" + "\n".join(f"sheet    {file}" for file in pictures)


def _kept_sheets(folder: Path, out: Path, name: str) -> list[Path]:
    """The first seed's pictures, beside the results; none where only its numbers were kept."""
    files = []
    for picture in sorted(folder.glob("*.webp")):
        with atomic(out / f"{name}-{picture.name}") as temporary:
            temporary.write_bytes(picture.read_bytes())
        files.append(out / f"{name}-{picture.name}")
    return files


def _means(rows: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Every number, by decoder and name, over seeds."""
    return {
        of: {name: float(np.mean([row[of][name] for row in rows])) for name in rows[0][of]} for of in rows[0]
    }


def named(kind: str) -> str:
    """What the files of a kind of decoder are called, and its reports in the ledger."""
    return "decode" if kind == "fast" else f"decode-{kind}"


def summarised(rows: Sequence[Mapping[str, Mapping[str, float]]], people: int) -> dict[str, Estimate]:
    """The targets' numbers over seeds, with t intervals.

    Args:
        rows: numbers by decoder and name, a mapping per seed.
        people: how many of them one is to be told from.
    """
    from idfer.experiments.statistics import mean_interval

    def each(of: str, name: str) -> np.ndarray:
        return np.array([row[of][name] for row in rows], np.float64)

    return {
        "swap_psnr_gain_db": mean_interval(each(OURS, "swap_psnr") - each(CONTROL, "swap_psnr")),
        "detach_psnr_gain_db": mean_interval(each(OURS, "detach_psnr") - each(CONTROL, "detach_psnr")),
        "swap_va_rmse": mean_interval(each(OURS, "swap_va_rmse")),
        "identify_sampled_over_chance": mean_interval(each(OURS, "identify_sampled") * people),
        "identify_mean_over_erm": mean_interval(each(OURS, "identify_mean") / each(CONTROL, "identify_mean")),
        "neutral_distance_ratio": mean_interval(
            each(OURS, "neutral_spread") / each(PHOTOGRAPHS, "neutral_spread")
        ),
    }


def target_table(summary: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """What was aimed at, what was reached, and whether."""
    table = [["target", "goal", "reached", ""]]
    for name, (title, goal, higher) in TARGETS.items():
        value, low, high = (summary[name][key] for key in ("value", "low", "high"))
        met = value >= goal if higher else value <= goal
        sign = "≥" if higher else "≤"
        table.append(
            [title, f"{sign} {goal:g}", f"{value:.2f} [{low:.2f}, {high:.2f}]", "yes" if met else "no"]
        )
    return table


def markdown(
    content: Mapping[str, Any],
    targets: list[list[str]],
    pictures: Sequence[Path] = (),
) -> str:
    """The page; its figure lies beside it, and so do the sheets of faces."""
    from idfer.experiments.ledger import standing
    from idfer.experiments.tables import pipes

    names = [OURS, CONTROL, CEILING, PHOTOGRAPHS]
    table = [["", "idfer's features", "ERM's feature", "true factors", "photographs"]]
    means = content["means"]
    for key, title in SHOWN.items():
        table.append([title, *(f"{means[of][key]:.3f}" if key in means[of] else "-" for of in names)])
    seeds, source = ", ".join(map(str, content["seeds"])), ", ".join(content["source"])
    mixed = (
        " (seeds of different code: train all again to compare them)" if len(content["source"]) > 1 else ""
    )
    lines = [
        "# Faces drawn back from features", "", f"`{content['command']}`", "", standing(content), "",
        f"Seeds {seeds}; {content['decoder']} decoders trained for {content['epochs']} epochs on the faces "
        "that the runs were trained on, and asked for unseen people on a full cross: everybody shows every "
        "expression, so that the truth of each edit is a face of the cross. ERM's decoder is given idfer's "
        "identity features, too. Judges are networks trained on further people, whom no run and no decoder "
        "sees and who are not in the cross.", "",
        *pipes(targets), "", f"Intervals: 95 %, Student's t over seeds. Source: {source}{mixed}.", "",
        f"![figure]({named(content['decoder'])}.png)", "", "## Every number", "", *pipes(table), "",
        "Swap: this face's expression feature with the identity features of another person's face of another "
        "expression, compared with that person showing this expression, where the two people differ; in the "
        "column of photographs, valence and arousal are those that the judge reads from that very face: what "
        "it itself takes for expression in a person. ID-neutral: the expression feature alone, compared with "
        "the mean of all people showing it, where that differs from the face. One attribute lent: changed in "
        "all features to what another person's are (docs/decode.md), as shares of the distance between the "
        "two photographs' CLIP posteriors. Identified: the first guess among all people of the cross is "
        "right; another attack may find more, and who averages draws comes nearer to the mean. Spread: root "
        "mean squared difference between two people's pictures of one expression.",
    ]  # fmt: skip
    if pictures:
        lines += [
            "", f"## Faces of seed {content['seeds'][0]}", "",
            f"{', '.join(picture.name for picture in pictures)}: people of the cross, and what is drawn of "
            "them.",
        ]  # fmt: skip
        lines += [line for picture in pictures for line in ("", f"![{picture.stem}]({picture.name})")]
    return "\n".join(lines) + "\n"
