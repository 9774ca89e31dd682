"""Valence and arousal of every face in photographs: `idfer.load` in Python, `idfer predict` in the shell."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from idfer.attributes.trust import clip_for
from idfer.errors import IdferError, UsageError
from idfer.inference.detach import Detach, strengths
from idfer.inference.framing import detector_for
from idfer.inference.inputs import list_images
from idfer.inference.memory import list_inputs
from idfer.inference.notices import builtin_warning, say, say_how_sure, say_left_out, toy_warning
from idfer.inference.output import check_out
from idfer.inference.predictions import Predictions
from idfer.inference.stream import Stream
from idfer.inference.threads import workers_for
from idfer.inference.writers import write_all
from idfer.progress import track

if TYPE_CHECKING:
    from idfer.attributes.reader import ClipReader
    from idfer.data.faces import Detector
    from idfer.inference.memory import Inputs
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
class Predictor:
    """A model with its preprocessing, ready for photographs.

    Attributes:
        checkpoint: the network (in eval mode, on its device), its configuration and preprocessing contract.
    """

    checkpoint: Checkpoint
    _said: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _detectors: dict[tuple[str | None, ...], tuple[Detector, str]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the identity attributes this model can detach."""
        return tuple(self.checkpoint.network.attributes)

    def __call__(
        self,
        inputs: Inputs,
        detach: Detach = None,
        *,
        swap: str | Path | None = None,
        detector: str | None = None,
        attributes: bool = False,
        clip: str | None = None,
        batch_size: int = 32,
        progress: bool = False,
    ) -> Predictions:
        """Predict every face in images, on disk or in memory; one that cannot be read is a row with `error`.

        A predictor may be called from several threads at once, and gives each the same numbers.

        A run whose residual form is not `distilled` retrieves each face's ID vectors with the CLIP it was
        trained with: it infers identity attributes by necessity, and reports none.

        Args:
            inputs: one or a list of: image files and folders, Pillow images, arrays (H, W, 3) uint8 RGB or a
                batch (N, H, W, 3) of them, tensors (3, H, W) or (N, 3, H, W) uint8, bytes of an image file,
                files open for reading bytes; OpenCV's arrays are BGR, so turn them: `image[..., ::-1]`. For
                grey, transparency and what the images are called see `idfer.inference.memory.list_inputs`.
            detach: attributes to detach: names, or a mapping (or "age=0.5,gender") of names to strengths, any
                real number; None is all of the model's at strength 1, [] none. What an attached attribute
                says of the label in the training data moves the prediction; see docs/method.md.
            swap: an image whose largest face lends its identity: for what is detached its evidence (or its
                identity features) is attached in place of the face's own.
            detector: as for `idfer.data.faces.load_detector`; None places faces as in the model's training.
                Which one it is moves predictions.
            attributes: also infer identity attributes of each face, a column `ATTRIBUTE/LEVEL` per level with
                its posterior; sensitive, so off by default.
            clip: the CLIP that infers them, as for `idfer retrieve`, e.g. "ViT-B-16/openai"; "builtin" knows
                drawn faces only.
            batch_size: faces per pass through the network.
            progress: show a progress bar on stderr.

        Raises:
            UsageError: an unknown attribute or detector, attributes without a CLIP, nothing to swap, a video,
                an empty name, a web address, an array that holds no image, or no input.
            IdferError: a folder without images, no detector, no face to swap in, or no CLIP of the run's.
        """
        import pandas as pd

        listing = list_inputs(inputs)
        reads = clip_for(drawn=False, clip=clip) if attributes else None
        stream = self.stream(detach, swap=swap, detector=detector, batch_size=batch_size, clip=reads)
        say_left_out(listing.videos)
        images = len(listing.sources)
        tables = stream.run(track(listing.sources, "predict", images, progress), workers_for(images))
        predictions = Predictions(pd.concat(list(tables), ignore_index=True), listing.sources)
        say_how_sure(stream, reads)
        return predictions

    def stream(
        self,
        detach: Detach = None,
        *,
        swap: str | Path | None = None,
        detector: str | None = None,
        batch_size: int = 32,
        clip: str | None = None,
    ) -> Stream:
        """Check a request and prepare it, before any image is read; arguments and errors as in a call.

        Here `clip` None means that no attributes are inferred. What a user should know of the model, the
        detector and the CLIP is said on stderr, once.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; it must be 1 or more.")
        wanted, network = strengths(detach), self.checkpoint.network
        strength = network.strength(wanted)  # raises for an attribute the model does not have
        if swap is not None and not bool(strength.any()):
            raise UsageError("--swap gives detached attributes those of another face, and none is detached.")
        if swap is not None and not str(swap):
            raise UsageError("--swap has an empty name; name the image of another face.")
        finder, framing = self._detector(detector)
        self._say_once(toy_warning(self.checkpoint))
        self._say_once(framing)
        reader = None
        if clip is not None:
            from idfer.attributes.reader import ClipReader

            self._say_once(builtin_warning(clip))
            reader = ClipReader.of_vocabulary(clip, device=str(self.checkpoint.device))
        vectors = _vector_reader(self.checkpoint) if network.residual.needs_retrieved else None
        attach = None
        if swap is not None:
            from idfer.inference.swap import identity_of

            attach = strength[..., None] * identity_of(swap, self.checkpoint, finder, vectors)
        return Stream(self.checkpoint, finder, wanted, batch_size, reader, vectors, attach)

    def _detector(self, given: str | None) -> tuple[Detector, str]:
        """As `detector_for`; one of a kind for all calls, for to load it takes longer than to use it."""
        kind = given, os.environ.get("IDFER_YUNET")
        with self._lock:
            if kind not in self._detectors:
                self._detectors[kind] = detector_for(self.checkpoint.preprocess.detector, given)
            return self._detectors[kind]

    def _say_once(self, message: str) -> None:
        with self._lock:
            if not message or message in self._said:
                return
            self._said.add(message)
        say(message)


def predict(
    inputs: list[str],
    model: str = "synthetic-tiny",
    detach: list[str] | str | None = None,
    out: str | None = None,
    detector: str | None = None,
    attributes: bool = False,
    clip: str | None = None,
    swap: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
    progress: bool = True,
) -> None:
    """Predict the perceived valence and arousal of every face in photographs.

    Writes one row per face with the columns input, frame, time, face_id, x, y, width, height, face_score,
    valence, arousal, detector, error. Valence and arousal lie in [-1, 1]: how pleasant and how active a face
    looks to others, not what the person feels. An image without a face is a row without numbers; an image
    that cannot be read, and a face that cannot be predicted, is a row whose `error` says why, and the exit
    code is then 1.

    Rows are written to OUT.partial.csv (.jsonl, .parquet) as they are made; once all are there, it replaces
    the output file. A run that is interrupted or killed leaves an older output as it was and its own rows in
    the partial file (of a killed run, a Parquet file cannot be read); the next run with this output
    overwrites it.

    Faces are placed as in the model's training unless --detector says otherwise. The choice moves
    predictions, so compare numbers of one `detector` only.

    A run whose residual form is not distilled retrieves each face's identity attributes with the CLIP it was
    trained with: it needs that CLIP, and infers attributes by necessity, though it reports none.

    The default model, synthetic-tiny, was trained on drawn faces. It shows the machinery and is not fit for
    real photographs; give your own with --model RUN.

    Args:
        inputs: image files and folders (a folder stands for its images at any depth, linked folders too).
        model: a run folder of `idfer fit`, or a model that comes with idfer.
        detach: identity attributes to remove from the prediction, e.g. age or age,gender; all of the model's
            unless given; "none" removes none: the prediction then leans towards what raters of the training
            data said of faces like this. A strength may follow a name: age=0.5 removes half of it.
        out: output file ending in .csv, .jsonl or .parquet; CSV on stdout unless given.
        detector: auto (YuNet if at hand or downloadable, else Haar), yunet, haar, none (each image is one
            whole face), or the path of a YuNet .onnx file; unless given, what placed the faces in the model's
            training.
        attributes: also infer each face's identity attributes (age, gender, ...), a column per level;
            sensitive, so off by default. Needs --clip.
        clip: the CLIP that infers them, as for `idfer retrieve`, e.g. ViT-B-16/openai; builtin knows drawn
            faces only.
        swap: an image whose largest face lends its identity: it takes the place of each face's own in what
            is detached.
        batch_size: faces per pass through the network.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: show a progress bar.

    Raises:
        UsageError: an unknown model, attribute, detector or output format, attributes without a CLIP, or a
            video; before any work.
        IdferError: an image could not be read, or a face not be predicted; raised after all results were
            written.
    """
    target = check_out(out)
    listing = list_images(inputs)
    reads = clip_for(drawn=False, clip=clip) if attributes else None
    predictor = load(model, device)
    stream = predictor.stream(detach, swap=swap, detector=detector, batch_size=batch_size, clip=reads)
    say_left_out(listing.videos)
    images = len(listing.sources)
    write_all(stream.run(track(listing.sources, "predict", images, progress), workers_for(images)), target)
    say_how_sure(stream, reads)
    _check_complete(stream, images, "on stdout" if target is None else f"in {target}")


def _check_complete(stream: Stream, inputs: int, where: str) -> None:
    """Raise `IdferError` where some inputs or faces have no numbers."""
    parts = []
    if stream.unreadable.count:
        first = stream.unreadable.first
        parts.append(f"{stream.unreadable.count} of {inputs} inputs could not be read (first: {first})")
    if stream.unpredicted.count:
        first = stream.unpredicted.first
        parts.append(f"{stream.unpredicted.count} face(s) could not be predicted (first: {first})")
    if parts:
        raise IdferError(f"{'; '.join(parts)} Their rows carry the reason; all results are {where}.")


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
