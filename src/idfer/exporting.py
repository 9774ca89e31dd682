"""`idfer export`: a run as one ONNX file that any runtime can serve, with what describes it beside it.

Normalisation is part of the graph, so that nobody can get it wrong, and so is detaching: attributes keep
their strengths as an input with a default. The file is run against the network before it is kept.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.errors import IdferError, UsageError
from idfer.evaluation.onnx_model import STRENGTH
from idfer.files import atomic, check_target, taken
from idfer.onnx_session import session_of
from idfer.training.shipped import caution
from idfer.version import __version__

if TYPE_CHECKING:
    import onnx
    import torch

    from idfer.training.checkpoint import Checkpoint

IMAGE, ANSWER, FEATURE = "image", "valence_arousal", "expression"
OPSET = 20
CHECKED = 5  # random crops that both are asked; more than were traced, so that a fixed batch shows
TOLERANCE = 1e-3  # of valence and arousal: far below what a face tells, far above float32 in another order
_TEXT = """\
# Describes {name}, which idfer {version} wrote. Read by `idfer evaluate` and `idfer audit --model`.
# Crops go in as uint8, RGB; normalisation is in the file.
# A crop is the square round the face box with `margin` on each side. Where `detector` is none, the image is
# itself a face: it is squared about its centre, without margin. Shrunk by area averaging, enlarged linearly.
{lines}"""


def export(run: str | Path, out: str | Path, detach: list[str] | str | None = None) -> Path:
    """Write a run as an ONNX file, for ONNX Runtime in any language, and a YAML file that describes it.

    Input `image` is (B, S, S, 3) uint8 RGB, faces cut as the description says; any number at once. Outputs
    are `valence_arousal` (B, 2) in [-1, 1] and `expression` (B, D), the mean of the expression feature. A run
    with identity attributes has a second input, `strength` (A,), in the order of the description's
    `attributes`: 1 detaches, 0 attaches; where it is not given, what `detach` says holds.

    The file is run by ONNX Runtime on random crops and compared with the network before it is kept.

    Args:
        run: a run folder of `idfer fit`, or the name of a model that comes with idfer.
        out: the .onnx file; OUT with .yaml in place of .onnx describes it. An earlier one is replaced.
        detach: attributes to detach where `strength` is not given: names, or NAME=STRENGTH; all by default,
            "none" for none.

    Returns:
        The ONNX file.

    Raises:
        UsageError: no such run or attribute, a name that does not end in .onnx or cannot be written, a YAML
            file of somebody else's beside it, or packages are missing.
        IdferError: the run reads CLIP's vectors at run time, cannot be traced, or the file says something
            else than the network.
    """
    from idfer.inference.detach import strengths
    from idfer.training.checkpoint import load_checkpoint

    file = Path(out)
    if file.suffix.lower() != ".onnx":
        raise UsageError(f"--out is {out}; give a file that ends in .onnx.")
    _check_installed()
    checkpoint = load_checkpoint(run, "cpu")
    network = checkpoint.network
    if network.residual.needs_retrieved:
        raise IdferError(
            f"{checkpoint.path}: its residual form {network.residual.form!r} reads CLIP's vectors of every "
            "face, which no ONNX file of idfer's holds; train with the form `distilled`."
        )
    strength = network.strength(strengths(detach))[0]
    _check_place(file)
    model = _traced(checkpoint, strength)
    described = file.with_suffix(".yaml")
    with atomic(described) as text, atomic(file) as temporary:
        text.write_text(_description(checkpoint, file.name), encoding="utf-8")
        temporary.write_bytes(model.SerializeToString())
        _check_same(temporary, checkpoint, strength.numpy())
        described.unlink(missing_ok=True)  # so that a file is never described as another was
    return file


def _check_place(file: Path) -> None:
    """Raise `UsageError` where nothing can be written, or another's YAML file would be replaced."""
    described, beginning = file.with_suffix(".yaml"), _TEXT.partition("{")[0]
    check_target(file)
    try:
        ours = not taken(described) or described.read_bytes().startswith(beginning.encode())
    except OSError:  # not to be read: not ours
        ours = False
    if not ours:
        raise UsageError(f"{described}: was not written by `idfer export`; choose another -o.")


def _check_installed() -> None:
    """Raise `UsageError` where a package is missing."""
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UsageError(f"export needs {', '.join(missing)}: pip install 'idfer[export]'.")


def _traced(checkpoint: Checkpoint, strength: torch.Tensor) -> onnx.ModelProto:
    """The network with normalisation in front, as ONNX."""
    import torch

    size, names = checkpoint.preprocess.size, [IMAGE]
    crops = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    inputs: tuple[torch.Tensor, ...] = (crops,)
    shapes: list[dict[int, Any] | None] = [{0: torch.export.Dim("batch")}]
    if checkpoint.attributes:
        inputs, names, shapes = (crops, strength), [IMAGE, STRENGTH], [*shapes, None]
    try:
        with _quiet():
            program = torch.onnx.export(
                _served(checkpoint), inputs, dynamo=True, opset_version=OPSET, verbose=False,
                input_names=names, output_names=[ANSWER, FEATURE], dynamic_shapes=tuple(shapes),
            )  # fmt: skip
    except Exception as error:  # torch.export raises many kinds
        reason = " ".join(str(error).split())[:300]
        backbone = checkpoint.record.settings.backbone
        raise IdferError(
            f"{checkpoint.path}: torch {torch.__version__} cannot export backbone {backbone!r} ({reason})."
        ) from error
    if program is None:
        raise IdferError(f"{checkpoint.path}: torch {torch.__version__} exported nothing.")
    model: onnx.ModelProto = program.model_proto
    if checkpoint.attributes:
        _give_default(model, strength.numpy())
    for key, value in _facts(checkpoint).items():
        model.metadata_props.add(key=key, value=value)
    return model


def _served(checkpoint: Checkpoint) -> torch.nn.Module:
    """(B, S, S, 3) uint8 crops, and strengths where there are attributes -> VA and the expression feature."""
    import torch

    class Served(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = checkpoint.network

        def forward(
            self, image: torch.Tensor, strength: torch.Tensor | None = None
        ) -> tuple[torch.Tensor, torch.Tensor]:
            pixels = checkpoint.preprocess.normalise(image.permute(0, 3, 1, 2))
            given = None if strength is None else strength[None]
            said = self.network(pixels, strength=given, sample=False)
            return said.valence_arousal, said.mean

    return Served().eval()


def _give_default(model: onnx.ModelProto, strength: np.ndarray) -> None:
    """Make `strength` an input that need not be given: an initialiser that a caller may override."""
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(strength.astype(np.float32), STRENGTH))


def _facts(checkpoint: Checkpoint) -> dict[str, str]:
    """What the file says of itself."""
    use = "Perceived affect, not what a person feels; see idfer's intended-use note."
    use = f"{caution(checkpoint)} {use}".lstrip()
    return {
        "idfer.version": __version__,
        "idfer.run": checkpoint.name,
        "idfer.attributes": json.dumps(list(checkpoint.attributes)),
        "idfer.intended_use": use,
    }


def _check_same(file: Path, checkpoint: Checkpoint, strength: np.ndarray) -> None:
    """Raise `IdferError` where the file and the network differ, with strengths given and left out."""
    size = checkpoint.preprocess.size
    crops = np.random.default_rng(0).integers(0, 256, (CHECKED, size, size, 3), np.uint8)
    session = session_of(file)
    tried: list[tuple[dict[str, np.ndarray], np.ndarray]] = [({}, strength)]
    if checkpoint.attributes:
        tried += [({STRENGTH: s}, s) for s in (0.5 * strength + 0.25, np.zeros_like(strength))]
    for given, meant in tried:
        said, shown = session.run([ANSWER, FEATURE], {IMAGE: crops, **given})
        wanted = checkpoint.predict(crops, dict(zip(checkpoint.attributes, meant.tolist(), strict=True)))
        feature = wanted.features[FEATURE]
        apart = max(
            float(np.abs(said - wanted.valence_arousal).max()),
            float(np.abs(shown - feature).max() / (1 + np.abs(feature).max())),  # of any scale
        )
        if not apart <= TOLERANCE:
            raise IdferError(
                f"{checkpoint.path}: what was exported differs from the network by {apart:.2g}; it was not "
                "kept."
            )


def _description(checkpoint: Checkpoint, name: str) -> str:
    """The YAML file beside it (see `idfer.evaluation.onnx_model`)."""
    import yaml

    placed = checkpoint.preprocess
    lines = {
        "size": placed.size, "layout": "NHWC", "colour_order": "RGB", "margin": placed.margin,
        "detector": placed.detector, "alignment": placed.alignment, "input": IMAGE,
        "valence_arousal": ANSWER, "range": [-1.0, 1.0], "features": [FEATURE],
        "attributes": list(checkpoint.attributes),
    }  # fmt: skip
    text = yaml.safe_dump(lines, sort_keys=False, default_flow_style=None)
    return _TEXT.format(name=name, version=__version__, lines=text)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says to those who develop it."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
