"""Valence and arousal of every face in photographs and videos: `idfer.load` and `idfer predict`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from idfer.attributes.trust import clip_for
from idfer.data.frames import Camera
from idfer.errors import IdferError, UsageError
from idfer.inference.detach import Detach, strengths
from idfer.inference.framing import detector_for
from idfer.inference.inputs import Listing, list_images
from idfer.inference.interrupt import noticed
from idfer.inference.memory import list_inputs
from idfer.inference.notices import builtin_warning, say, say_how_sure, say_left_out
from idfer.inference.output import COLUMNS, check_out
from idfer.inference.predictions import Predictions
from idfer.inference.resume import Kept
from idfer.inference.stream import Stream
from idfer.inference.writers import write_all
from idfer.training.shipped import caution

if TYPE_CHECKING:
    from idfer.attributes.reader import ClipReader
    from idfer.data.detection import Detector
    from idfer.inference.memory import Inputs
    from idfer.inference.video import Footage, VideoOptions
    from idfer.training.checkpoint import Checkpoint

DEFAULT_MODEL = "synthetic-base"


def load(model: str = DEFAULT_MODEL, device: str = "auto") -> Predictor:
    """Load a trained model for prediction.

    Args:
        model: a run folder of `idfer fit`, or the name of a model that comes with idfer: "synthetic-base" was
            trained on rendered faces, and docs/model-card.md says what it makes of photographs;
            "synthetic-tiny" on drawn ones: it is for the demo, and not fit for photographs.
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
        video: VideoOptions | None = None,
        progress: bool = False,
    ) -> Predictions:
        """Predict every face in images and videos; what cannot be read is a row with `error`.

        A predictor may be called from several threads at once, and gives each the same numbers.

        A run whose residual form is not `distilled` retrieves each face's ID vectors with the CLIP it was
        trained with: it infers identity attributes by necessity, and reports none.

        Args:
            inputs: one or a list of: image files, folders of images, video files (which need `pip install
                idfer[video]`), Pillow images, arrays (H, W, 3) uint8 RGB or a batch (N, H, W, 3) of them,
                tensors (3, H, W) or (N, 3, H, W) uint8, bytes of an image file, files open for reading
                bytes; OpenCV's arrays are BGR, so turn them: `image[..., ::-1]`. For grey, transparency and
                what the images are called see `idfer.inference.memory.list_inputs`.
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
            video: how videos are predicted on; see `VideoOptions` in idfer.inference.video.
            progress: show a progress bar on stderr.

        Raises:
            UsageError: an unknown attribute or detector, attributes without a CLIP or a CLIP without
                attributes, nothing to swap, an empty name, a web address, an array that holds no image, no
                input, or options for a video without one.
            IdferError: a folder without images, no detector, no face to swap in, or no CLIP of the run's.
        """
        import pandas as pd

        from idfer.inference.video import Footage, VideoOptions

        options = video or VideoOptions()
        listing = list_inputs(inputs)
        options.check(listing.sources)
        reads = _clip_asked(attributes, clip)
        stream = self.stream(detach, swap=swap, detector=detector, batch_size=batch_size, clip=reads)
        say_left_out(listing)
        tables = list(Footage(stream, options).run(listing.sources, progress))
        table = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
        predictions = Predictions(table, listing.sources)
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
        self._say_once(caution(self.checkpoint))
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
    inputs: list[str] | None = None,
    model: str = DEFAULT_MODEL,
    detach: list[str] | str | None = None,
    out: str | None = None,
    detector: str | None = None,
    attributes: bool = False,
    clip: str | None = None,
    swap: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
    camera: int | None = None,
    detect_every: int = 1,
    smooth: float | None = None,
    annotate: str | None = None,
    plot: str | None = None,
    resume: bool = False,
    progress: bool = True,
) -> None:
    """Predict the perceived valence and arousal of every face in photographs, videos or a camera's view.

    Writes one row per face with the columns input, frame, time, face_id, x, y, width, height, face_score,
    valence, arousal, detector, error. Valence and arousal lie in [-1, 1]: how pleasant and how active a face
    looks to others, not what the person feels. An image without a face is a row without numbers; an image
    that cannot be read, and a face that cannot be predicted, is a row whose `error` says why, and the exit
    code is then 1.

    Rows are written to OUT.partial.csv (.jsonl, .parquet) as they are made; once all are there, it replaces
    the output file. A run that is interrupted or killed leaves an older output as it was and its own rows in
    the partial file (of a killed run, a Parquet file cannot be read); the next run with this output
    overwrites it, or goes on from it with --resume true.

    A video (pip install idfer[video]) has rows for every frame: `frame` from 0, `time` in seconds from the
    file's own timestamps, `face_id` one number per face over time, kept for up to 2 s out of sight. A frame
    without a face is a row without numbers; frames that cannot be decoded, and the end of a file that is cut
    off, are rows whose `error` says so.

    Faces are placed as in the model's training unless --detector says otherwise. The choice moves
    predictions, so compare numbers of one `detector` only.

    A run whose residual form is not distilled retrieves each face's identity attributes with the CLIP it was
    trained with: it needs that CLIP, and infers attributes by necessity, though it reports none.

    The default model, synthetic-base, was trained on rendered faces alone. The model card says what it makes
    of photographs: measure it on yours first, or give your own with --model RUN.

    Args:
        inputs: image files, videos and folders (a folder stands for its images at any depth, linked folders
            too; videos are predicted on when they are named). HEIC and AVIF must be converted first.
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
            faces only. Needs --attributes true.
        swap: an image whose largest face lends its identity: it takes the place of each face's own in what
            is detached.
        batch_size: faces per pass through the network.
        device: auto, cpu, cuda, cuda:N or mps.
        camera: predict on this camera, from 0, in place of inputs, until Ctrl-C.
        detect_every: in videos, look for faces at every so many frames and follow them in between.
        smooth: in videos, also write valence_smooth and arousal_smooth: exponential smoothing over so many
            seconds, per face, of the past alone.
        annotate: write the video with boxes, face numbers, valence and arousal drawn on it to this .mp4 or
            .mkv; for one video.
        plot: draw valence and arousal over time, a line per face, to this .png, .svg or .pdf; for one video.
        resume: go on from the rows in OUT.partial.csv (.jsonl) that a killed run of the same command left;
            for one video.
        progress: show a progress bar.

    Raises:
        UsageError: an unknown model, attribute, detector or output format, attributes without a CLIP or a
            CLIP without attributes, or options that do not go together; before any work.
        IdferError: an image or a frame could not be read, or a face not be predicted; raised after all
            results were written.
    """
    from idfer.inference.video import Footage, VideoOptions

    target = check_out(out)
    options = VideoOptions(detect_every, smooth, annotate, plot)
    listing = _asked(inputs, camera, resume)
    if camera is None:
        options.check(listing.sources, resume)
    else:
        options.check_files()
    reads = _clip_asked(attributes, clip)
    predictor = load(model, device)
    stream = predictor.stream(detach, swap=swap, detector=detector, batch_size=batch_size, clip=reads)
    say_left_out(listing)
    footage = Footage(stream, options)
    if resume:
        footage.kept = Kept.of(target, (*COLUMNS, *footage.extra), detect_every)
    if camera is None:
        write_all(footage.run(listing.sources, progress), target, footage.kept)
    else:
        with noticed() as stopped:
            write_all(footage.watch(Camera(camera), progress, stopped), target)
    say_how_sure(stream, reads)
    _check_complete(footage, len(listing.sources), "on stdout" if target is None else f"in {target}")


def _asked(inputs: list[str] | None, camera: int | None, resume: bool) -> Listing:
    """What to predict on; of a camera nothing is listed."""
    if camera is None:
        if not inputs:
            raise UsageError(
                "nothing to predict on (no inputs): name image files, videos or folders, or give --camera 0."
            )
        return list_images(inputs)
    if inputs or resume:
        raise UsageError("--camera takes the place of inputs, and there is nothing to --resume.")
    return Listing()


def _clip_asked(attributes: bool, clip: str | None) -> str | None:
    """The CLIP that infers attributes; None where none are asked for."""
    if attributes:
        return clip_for(drawn=False, clip=clip)
    if clip is not None:
        raise UsageError(
            f"--clip {clip} would infer attributes, and none are asked for; give --attributes true, or leave "
            "--clip out."
        )
    return None


def _check_complete(footage: Footage, inputs: int, where: str) -> None:
    """Raise `IdferError` where some inputs, frames or faces have no numbers."""
    stream, parts = footage.stream, []
    if footage.broken.count:
        first = footage.broken.first
        parts.append(f"{footage.broken.count} video(s) or frame(s) could not be read (first: {first})")
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
