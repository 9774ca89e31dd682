"""Valence and arousal of every face in photographs: `idfer.load` in Python, `idfer predict` in the shell."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idfer.data.faces import load_detector
from idfer.errors import IdferError, UsageError
from idfer.files import atomic
from idfer.inference import output
from idfer.inference.detach import Detach, strengths
from idfer.inference.inputs import image_files
from idfer.inference.stream import Stream
from idfer.progress import track

if TYPE_CHECKING:
    import pandas as pd

    from idfer.attributes.reader import ClipReader
    from idfer.training.checkpoint import Checkpoint


def load(model: str = "synthetic-tiny", device: str = "auto") -> Predictor:
    """Load a trained model for prediction.

    Args:
        model: a run folder of `idfer fit`, or the name of a model that comes with idfer. "synthetic-tiny" was
            trained on drawn faces: it shows the machinery and is not fit for real photographs.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        UsageError: no such model or device.
        IdferError: the model's files are broken or of another version.
    """
    from idfer.training.checkpoint import load_checkpoint

    return Predictor(load_checkpoint(model, device))


@dataclass(frozen=True)
class Predictions:
    """What a model says of the faces in some images."""

    _frame: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """One row per face (or per image without one), in the order of the images.

        Columns: `input` (file), `frame` (0 in a still), `time` (seconds; NaN in a still), `face_id` (from 0,
        the largest face first), `x`, `y`, `width`, `height` (face box in pixels of the upright image),
        `face_score`, `valence` and `arousal` (perceived, in [-1, 1]), `detector`, `error` ("" where all went
        well).
        """
        return self._frame.copy()

    def __len__(self) -> int:
        return len(self._frame)


@dataclass(frozen=True)
class Predictor:
    """A model with its preprocessing, ready for photographs.

    Attributes:
        checkpoint: the network (in eval mode, on its device), its configuration and preprocessing contract.
    """

    checkpoint: Checkpoint

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the identity attributes this model can detach."""
        return tuple(self.checkpoint.network.attributes)

    def __call__(
        self,
        inputs: str | Path | Iterable[str | Path],
        detach: Detach = None,
        *,
        swap: str | Path | None = None,
        detector: str = "auto",
        attributes: bool = False,
        clip: str = "builtin",
        batch_size: int = 32,
        progress: bool = False,
    ) -> Predictions:
        """Predict every face in images and folders; an image that cannot be read is a row with `error`.

        A run whose residual form is not `distilled` retrieves each face's ID vectors with the CLIP it was
        trained with: it infers identity attributes by necessity, and reports none.

        Args:
            inputs: image files and folders.
            detach: attributes whose identity feature is subtracted: names, or a mapping (or "age=0.5,gender")
                of names to strengths, any real number; None is all of the model's at strength 1, [] none.
            swap: an image whose largest face lends its identity features: for what is detached they are
                attached in place of the face's own.
            detector: as for `idfer.data.faces.load_detector`.
            attributes: also infer identity attributes of each face, a column `ATTRIBUTE/LEVEL` per level with
                its posterior; sensitive, so off by default.
            clip: the CLIP that infers them, as for `idfer retrieve`; "builtin" knows drawn faces only.
            batch_size: faces per pass through the network.
            progress: show a progress bar on stderr.

        Raises:
            UsageError: an unknown attribute or detector, nothing to swap, a video, or no input.
            IdferError: a folder without images, no detector, no face to swap in, or no CLIP of the run's.
        """
        import pandas as pd

        files = image_files([inputs] if isinstance(inputs, (str, Path)) else inputs)
        reads = clip if attributes else None
        stream = self.stream(detach, swap=swap, detector=detector, batch_size=batch_size, clip=reads)
        shown = track(files, "predict", len(files), progress)
        return Predictions(pd.concat(list(stream.run(shown)), ignore_index=True))

    def stream(
        self,
        detach: Detach = None,
        *,
        swap: str | Path | None = None,
        detector: str = "auto",
        batch_size: int = 32,
        clip: str | None = None,
    ) -> Stream:
        """Check a request and prepare it, before any image is read; arguments and errors as in a call.

        Here `clip` None means that no attributes are inferred.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; it must be 1 or more.")
        wanted, network = strengths(detach), self.checkpoint.network
        strength = network.strength(wanted)  # raises for an attribute the model does not have
        if swap is not None and not bool(strength.any()):
            raise UsageError("--swap gives detached attributes those of another face, and none is detached.")
        finder = load_detector(detector)
        reader = None
        if clip is not None:
            from idfer.attributes.reader import ClipReader

            reader = ClipReader.of_vocabulary(clip, device=str(next(network.parameters()).device))
        vectors = None
        if network.residual.needs_retrieved:
            vectors = _vector_reader(self.checkpoint)
        attach = None
        if swap is not None:
            from idfer.inference.swap import identity_of

            attach = strength[..., None] * identity_of(swap, self.checkpoint, finder, vectors)
        return Stream(self.checkpoint, finder, wanted, batch_size, reader, vectors, attach)


def predict(
    inputs: list[str],
    model: str = "synthetic-tiny",
    detach: list[str] | str | None = None,
    out: str | None = None,
    detector: str = "auto",
    attributes: bool = False,
    clip: str = "builtin",
    swap: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
    progress: bool = True,
) -> None:
    """Predict the perceived valence and arousal of every face in photographs.

    Writes one row per face with the columns input, frame, time, face_id, x, y, width, height, face_score,
    valence, arousal, detector, error. Valence and arousal lie in [-1, 1]: how pleasant and how active a face
    looks to others, not what the person feels. An image without a face is a row without numbers; an image
    that cannot be read is a row whose `error` says why, and the exit code is then 1.

    A run whose residual form is not distilled retrieves each face's identity attributes with the CLIP it was
    trained with: it needs that CLIP, and infers attributes by necessity, though it reports none.

    The default model, synthetic-tiny, was trained on drawn faces. It shows the machinery and is not fit for
    real photographs; give your own with --model RUN.

    Args:
        inputs: image files and folders (a folder stands for its images at any depth).
        model: a run folder of `idfer fit`, or a model that comes with idfer.
        detach: identity attributes to remove from the prediction, e.g. age or age,gender; all of the model's
            unless given; "none" removes none. A strength may follow a name: age=0.5 removes half of it.
        out: output file ending in .csv, .jsonl or .parquet; CSV on stdout unless given.
        detector: auto (YuNet if at hand or downloadable, else Haar), yunet, haar, none (each image is one
            whole face), or the path of a YuNet .onnx file.
        attributes: also infer each face's identity attributes (age, gender, ...), a column per level;
            sensitive, so off by default.
        clip: the CLIP that infers them, as for `idfer retrieve`; builtin knows drawn faces only.
        swap: an image whose largest face lends its identity features: they take the place of each face's own
            in what is detached.
        batch_size: faces per pass through the network.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: show a progress bar.

    Raises:
        UsageError: an unknown model, attribute, detector or output format, or a video; before any work.
        IdferError: an image could not be read; raised after all results were written.
    """
    target = output.check_out(out)
    files = image_files(inputs)
    predictor = load(model, device)
    reads = clip if attributes else None
    stream = predictor.stream(detach, swap=swap, detector=detector, batch_size=batch_size, clip=reads)
    if _is_shipped(predictor.checkpoint):
        _say(
            f"{model} was trained on drawn faces: it shows the machinery, it is not fit for real photographs."
        )
    stopped = _write_all(stream, files, target, progress)
    where = "on stdout" if target is None else f"in {target}"
    if stopped is not None:
        _say(f"stopped early; the rows made until then are {where}.")
        raise stopped
    if stream.unreadable:
        raise IdferError(
            f"{stream.unreadable} of {len(files)} inputs could not be read (first: {stream.first_error}) "
            f"Their rows carry the reason; all results are {where}."
        )


def _vector_reader(checkpoint: Checkpoint) -> ClipReader:
    """Reads ID vectors as the run was trained on, for a network that needs them."""
    from idfer.attributes.reader import ClipReader

    record, network = checkpoint.record, checkpoint.network
    assert checkpoint.text is not None  # checked when the run was opened
    return ClipReader.of_record(
        record.retrieved,
        checkpoint.text,
        {name: record.levels[name] for name in network.attributes},
        record.settings.retrieval,
        str(next(network.parameters()).device),
        f"{checkpoint.path}: its residual form {network.residual.form!r}",
    )


def _write_all(
    stream: Stream, files: list[Path], target: Path | None, progress: bool
) -> BaseException | None:
    """Write every row; an interrupt or a failure ends it early, keeps what was made and is returned."""
    place = nullcontext() if target is None else atomic(target)
    try:
        with place as path, output.writer(path, stream.extra) as write:
            try:
                for table in stream.run(track(files, "predict", len(files), progress)):
                    write(table)
            except OSError:
                raise  # the output itself failed: what stood at `target` stays
            except (KeyboardInterrupt, Exception) as error:
                return error
    except (
        BrokenPipeError
    ):  # `idfer predict ... | head` has read enough; nothing more is flushed to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return None


def _is_shipped(checkpoint: Checkpoint) -> bool:
    from idfer.training.checkpoint import SHIPPED

    return checkpoint.path.parent == SHIPPED


def _say(message: str) -> None:
    print(f"idfer: {message}", file=sys.stderr)
