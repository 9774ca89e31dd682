"""An ONNX file as a `FaceModel`: run by ONNX Runtime, described by a small YAML file beside it.

`model.onnx` is described by `model.yaml`::

    size: 224                     # side of the square input, pixels; the only line that must be there
    layout: NCHW                  # or NHWC
    colour_order: RGB             # or BGR
    pixels: [0, 1]                # what 0 and 255 become before mean and std, e.g. [0, 255] or [-1, 1]
    mean: [0.485, 0.456, 0.406]   # subtracted, on that scale
    std: [0.229, 0.224, 0.225]    # divides
    margin: 0.1                   # context around a face box, as a fraction of its longer side
    detector: auto                # what places the faces: auto, yunet, haar, box, or none (each image is one)
    alignment: none               # or landmarks: five landmarks onto idfer's template
    input: image                  # its name, where the model has several
    valence_arousal: va           # name of the output (B, 2); or two outputs, valence: and arousal:
    range: [-1, 1]                # lowest and highest value that the outputs mean
    features: [embedding]         # outputs to probe for identity, if any
    attributes: [age]             # what an input `strength` (A,) detaches, as `idfer export` writes it

Without `mean` and `std` nothing is subtracted and nothing divides. A model with one output of two columns
needs no `valence_arousal`. A file whose input is uint8 gets the pixels as they are, and `pixels`, `mean` or
`std` beside it are an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, unknown
from idfer.files import read_yaml
from idfer.onnx_session import session_of
from idfer.types import Outputs

SUFFIX = ".onnx"
STRENGTH = "strength"  # an input that need not be given: how far each of `attributes` is detached
LAYOUTS, ORDERS = ("NCHW", "NHWC"), ("RGB", "BGR")
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
          "tensor(uint8)": np.uint8}  # fmt: skip


@dataclass(frozen=True)
class Description:
    """What the YAML file says, see the module.

    Attributes:
        size: S.
        layout: of `LAYOUTS`.
        colour_order: of `ORDERS`.
        pixels: what 0 and 255 become.
        mean: per channel.
        std: per channel.
        margin: of the crop.
        detector: what places faces.
        alignment: none or landmarks.
        input: its name, or "".
        valence_arousal: name of the output, or "".
        valence: name of the output of valence alone, or "".
        arousal: name of the output of arousal alone, or "".
        range: of the outputs.
        features: names of outputs.
        attributes: what the input `STRENGTH` detaches, in its order; () where there is none.
    """

    size: int
    layout: str = "NCHW"
    colour_order: str = "RGB"
    pixels: tuple[float, ...] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    margin: float = 0.0
    detector: str = "auto"
    alignment: str = "none"
    input: str = ""
    valence_arousal: str = ""
    valence: str = ""
    arousal: str = ""
    range: tuple[float, ...] = (-1.0, 1.0)
    features: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Description:
        """Read and check a description.

        Raises:
            IdferError: it is missing, no YAML, or says what cannot be.
        """
        if not path.is_file():
            raise IdferError(
                f"{path}: not there; an ONNX file is described by a YAML file beside it, of at least one "
                "line, `size: 224` (see docs/audit.md)."
            )
        content = read_yaml(path)
        known = list(cls.__dataclass_fields__)
        for name in content:
            if name not in known:
                raise IdferError(f"{path}: {unknown('key', name, known)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        for key, what in (
            ("features", "outputs, e.g. [embedding]"),
            ("attributes", "attributes, e.g. [age]"),
        ):
            if isinstance(values.get(key), str):
                values[key] = (values[key],)
            names = values.get(key, ())
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise IdferError(f"{path}: {key} is {content[key]!r}; list names of {what}.")
        if "size" not in values:
            raise IdferError(f"{path}: `size` is missing; say how large the square input is, e.g. size: 224.")
        described = cls(**values)
        described._check(path)
        return described

    def _check(self, path: Path) -> None:
        for name, known in (("layout", LAYOUTS), ("colour_order", ORDERS)):
            if getattr(self, name) not in known:
                raise IdferError(f"{path}: {name} is {getattr(self, name)!r}; it is {' or '.join(known)}.")
        for name, count in (("pixels", 2), ("mean", 3), ("std", 3), ("range", 2)):
            numbers = getattr(self, name)
            good = isinstance(numbers, tuple) and len(numbers) == count
            if not good or not all(isinstance(v, (int, float)) and np.isfinite(v) for v in numbers):
                raise IdferError(f"{path}: {name} is {numbers!r}; give {count} numbers, e.g. [0, 1].")
        if min(self.std) <= 0:
            raise IdferError(f"{path}: std is {self.std!r}; every channel's must be above 0.")
        for name in ("pixels", "range"):
            low, high = getattr(self, name)
            if low >= high:
                raise IdferError(f"{path}: {name} is [{low}, {high}]; give the lowest and the highest.")
        for name in ("input", "valence_arousal", "valence", "arousal"):
            if not isinstance(getattr(self, name), str):
                raise IdferError(f"{path}: {name} is {getattr(self, name)!r}; give the name in quotes.")
        if bool(self.valence) != bool(self.arousal) or (self.valence and self.valence_arousal):
            raise IdferError(f"{path}: name either valence_arousal, or both valence and arousal.")
        try:
            self.contract  # noqa: B018
        except IdferError as error:
            raise IdferError(f"{path}: {error}") from error

    @property
    def scaling(self) -> list[str]:
        """Which lines ask for other numbers than the pixels' 0 to 255; [0, 1] may be said by default."""
        asked = {
            "pixels": tuple(self.pixels) not in ((0, 1), (0, 255)),
            "mean": any(value != 0 for value in self.mean),
            "std": any(value != 1 for value in self.std),
        }
        return [name for name, there in asked.items() if there]

    @property
    def contract(self) -> Preprocess:
        """How faces are cut. Raises `IdferError` for what cannot be."""
        return Preprocess(self.size, margin=self.margin, alignment=self.alignment, detector=self.detector)


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file as a `FaceModel`.

    Attributes:
        name: the file's stem.
        description: what its YAML file says.
        session: of ONNX Runtime.
        input: name, shape and type of the input.
        outputs: names of the outputs that are asked for: valence and arousal first, then features.
    """

    name: str
    description: Description
    session: Any
    input: Any
    outputs: tuple[str, ...]

    @property
    def attributes(self) -> tuple[str, ...]:
        """What can be detached."""
        return self.description.attributes

    @property
    def preprocess(self) -> Preprocess:
        """How faces are cut for it."""
        return self.description.contract

    @property
    def batch(self) -> int | None:
        """Faces per run where the file fixes them, else None."""
        first = self.input.shape[0]
        return first if isinstance(first, int) and first > 0 else None

    def predict(self, crops: NDArray[np.uint8], strength: Mapping[str, float] | None = None, /) -> Outputs:
        """As `FaceModel.predict`.

        Raises:
            UsageError: `strength` names what is none of `attributes`.
            IdferError: ONNX Runtime fails, or an output has another shape than described.
        """
        detached = self._strength(strength)
        parts = [self._run(part, detached) for part in self._parts(self.inputs(crops))]
        arrays = [np.concatenate(parts_of)[: len(crops)] for parts_of in zip(*parts, strict=True)]
        for name, array in zip(self.outputs, arrays, strict=True):
            if name in (self.description.valence, self.description.arousal) and array.size != len(array):
                raise IdferError(
                    f"{self.name}: output {name!r} is {array.shape} for {len(crops)} faces; wanted one "
                    "number each."
                )
        told = 1 if self.description.valence_arousal or not self.description.valence else 2
        va = arrays[0] if told == 1 else np.stack([a.reshape(len(a), -1)[:, 0] for a in arrays[:2]], axis=1)
        if va.shape != (len(crops), 2):
            raise IdferError(
                f"{self.name}: output {self.outputs[0]!r} is {va.shape} for {len(crops)} faces; wanted "
                f"({len(crops)}, 2). Name the output with `valence_arousal:`, or two with `valence:` and "
                "`arousal:`."
            )
        low, high = self.description.range
        scaled = 2 * (va.astype(np.float64) - low) / (high - low) - 1
        names = self.outputs[told:]
        shown = {n: a.reshape(len(a), -1) for n, a in zip(names, arrays[told:], strict=True)}
        return Outputs(scaled, shown)

    def inputs(self, crops: NDArray[np.uint8]) -> NDArray[Any]:
        """(B, S, S, 3) uint8 crops as the file wants them."""
        d = self.description
        image = crops[..., ::-1] if d.colour_order == "BGR" else crops
        kind = _TYPES[self.input.type]
        given: NDArray[Any] = image
        if kind is not np.uint8:
            low, high = d.pixels
            scaled = image.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)
            given = ((scaled - np.array(d.mean, np.float32)) / np.array(d.std, np.float32)).astype(kind)
        return np.ascontiguousarray(given.transpose(0, 3, 1, 2) if d.layout == "NCHW" else given)

    def _strength(self, strength: Mapping[str, float] | None) -> dict[str, NDArray[np.float32]]:
        """The input of that name; nothing leaves the file's own default."""
        if strength is None or not self.attributes:
            return {}
        for name in strength:
            if name not in self.attributes:
                raise unknown("attribute", name, list(self.attributes))
        return {STRENGTH: np.array([strength.get(a, 0.0) for a in self.attributes], np.float32)}

    def _parts(self, given: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """Batches of the size that the file fixes, the last one filled up."""
        if (batch := self.batch) is None:
            return [given]
        lacking = -len(given) % batch
        filled = np.concatenate([given, np.repeat(given[-1:], lacking, axis=0)])
        return [filled[start : start + batch] for start in range(0, len(filled), batch)]

    def _run(self, given: NDArray[Any], detached: Mapping[str, NDArray[np.float32]]) -> list[NDArray[Any]]:
        inputs = {self.input.name: given, **detached}
        try:
            found: list[NDArray[Any]] = self.session.run(list(self.outputs), inputs)
        except Exception as error:  # ONNX Runtime raises many kinds
            reason = " ".join(str(error).split())[:300]
            raise IdferError(f"{self.name}: ONNX Runtime failed on {given.shape} ({reason}).") from error
        for name, array in zip(self.outputs, found, strict=True):
            if not isinstance(array, np.ndarray) or array.ndim < 1 or len(array) != len(given):
                raise IdferError(
                    f"{self.name}: output {name!r} is {np.shape(array)} for {len(given)} faces; the first "
                    "dimension of every output must be the faces."
                )
        return found


def open_onnx(path: str | Path, device: str = "auto") -> OnnxModel:
    """Open an ONNX file and the YAML file beside it.

    Args:
        path: the .onnx file.
        device: cuda or cuda:N runs it on that GPU; auto, cpu and mps on the CPU.

    Raises:
        UsageError: no device of that name, or an ONNX Runtime without CUDA.
        IdferError: a file is missing or broken, they contradict each other, or the GPU cannot be used.
    """
    file = Path(path)
    if not file.is_file():
        raise IdferError(f"{file}: no such ONNX file.")
    described = Description.read(file.with_suffix(".yaml"))
    session = session_of(file, device)
    chosen = _input(session, described, file)
    return OnnxModel(file.stem, described, session, chosen, _outputs(session, described, file))


def _input(session: Any, described: Description, file: Path) -> Any:
    """The input, checked against the description."""
    inputs = {i.name: i for i in session.get_inputs()}
    name = described.input or (next(iter(inputs)) if len(inputs) == 1 else "")
    if not name:
        raise IdferError(f"{file}: has the inputs {', '.join(inputs)}; say which with `input:`.")
    if name not in inputs:
        raise IdferError(f"{file.with_suffix('.yaml')}: {unknown('input', name, list(inputs))}")
    if len(inputs) > 1:
        raise IdferError(f"{file}: needs {', '.join(inputs)}; only models of one input can be run.")
    if described.attributes:
        defaults = {i.name: i for i in session.get_overridable_initializers()}
        if STRENGTH not in defaults or list(defaults[STRENGTH].shape) != [len(described.attributes)]:
            raise IdferError(
                f"{file.with_suffix('.yaml')}: attributes are listed, and {file.name} has no optional input "
                f"{STRENGTH!r} of {len(described.attributes)} numbers; take them out, or export again."
            )
    chosen, size = inputs[name], described.size
    if chosen.type not in _TYPES:
        raise IdferError(f"{file}: input {name!r} is {chosen.type}; known: {', '.join(_TYPES)}.")
    if chosen.type == "tensor(uint8)" and (told := described.scaling):
        raise IdferError(
            f"{file}: its input {name!r} takes uint8 pixels as they are, so {' and '.join(told)} in "
            f"{file.with_suffix('.yaml').name} cannot be applied; take them out (the file must scale by "
            "itself), or export the model with a float input."
        )
    wanted = (3, size, size) if described.layout == "NCHW" else (size, size, 3)
    given = tuple(chosen.shape)
    fits = len(given) == 4 and all(
        not isinstance(have, int) or have == want for have, want in zip(given[1:], wanted, strict=True)
    )
    if not fits:
        raise IdferError(
            f"{file}: its input {name!r} is {list(given)}, and {file.with_suffix('.yaml').name} says size "
            f"{size} and layout {described.layout}, so (B, {', '.join(map(str, wanted))}); mend one."
        )
    return chosen


def _outputs(session: Any, described: Description, file: Path) -> tuple[str, ...]:
    """Names of the outputs to ask for, checked against the file's."""
    known = {o.name: o for o in session.get_outputs()}
    told = [n for n in (described.valence_arousal, described.valence, described.arousal) if n]
    for name in (*told, *described.features):
        if name not in known:
            raise IdferError(f"{file.with_suffix('.yaml')}: {unknown('output', name, list(known))}")
    if not told:
        two = [
            n
            for n, o in known.items()
            if len(o.shape) == 2 and o.shape[1] == 2 and n not in described.features
        ]
        if len(two) != 1:
            shapes = ", ".join(f"{n} {list(o.shape)}" for n, o in known.items())
            raise IdferError(
                f"{file}: which output is valence and arousal? It has {shapes}. Say `valence_arousal: NAME`, "
                f"or `valence: NAME` and `arousal: NAME`, in {file.with_suffix('.yaml').name}."
            )
        told = two
    if described.valence_arousal or not described.valence:
        shape = known[told[0]].shape
        if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != 2):
            raise IdferError(
                f"{file}: output {told[0]!r} is {list(shape)}; wanted (B, 2). Name two outputs with "
                "`valence:` and `arousal:` where they are apart."
            )
    return (*told, *described.features)
