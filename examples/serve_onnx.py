"""An exported model without idfer and without torch: ONNX Runtime, OpenCV, NumPy and a YAML file.

`idfer export RUN -o model.onnx`, then `python serve_onnx.py model.onnx photo.jpg 160,60,130,150`: valence and
arousal of the face in that box (x, y, width, height in pixels). All that must be done alike is the crop;
normalisation and detaching are in the file. A run that was trained on pictures of one face each (`detector:
none` in the YAML file) takes whole pictures: give no box. Runs that were trained on aligned faces need their
landmarks too.
"""

import sys
from collections.abc import Mapping, Sequence
from math import floor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import yaml


class Model:
    """A file of `idfer export`."""

    def __init__(self, file: str | Path):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of `strength`, an input that has a default
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.described = yaml.safe_load(Path(file).with_suffix(".yaml").read_text(encoding="utf-8"))
        if self.described["alignment"] != "none":
            raise ValueError(f"{file} wants faces aligned by landmarks, which this example does not do.")

    def __call__(
        self,
        photo: str | Path,
        box: Sequence[float] | None = None,
        detach: Mapping[str, float] | None = None,
    ) -> np.ndarray:
        """Valence and arousal, (2,) in [-1, 1], of the face in a box, or in a picture that is one face.

        `detach` are strengths by attribute.
        """
        whole = self.described["detector"] == "none"
        if whole != (box is None):
            raise ValueError(
                "this model takes pictures of one face each; give no box." if whole
                else "give the face's box: x,y,width,height."
            )  # fmt: skip
        read = cv2.imread(str(photo))
        if read is None:
            raise ValueError(f"{photo} is no image that OpenCV can read.")
        inputs = {"image": self.crop(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), box)[None]}
        names = self.described["attributes"]
        if detach is not None and (unknown := sorted(set(detach) - set(names))):
            raise ValueError(f"no attribute {unknown[0]!r}; this model has {names}.")
        if detach is not None and names:
            inputs["strength"] = np.array([detach.get(name, 0.0) for name in names], np.float32)
        return self.session.run(["valence_arousal"], inputs)[0][0]

    def crop(self, image: np.ndarray, box: Sequence[float] | None = None) -> np.ndarray:
        """The square round a box with its margin, or round an image without; edge pixels are repeated."""
        x, y, width, height = (0, 0, image.shape[1], image.shape[0]) if box is None else box
        margin = 0 if box is None else self.described["margin"]
        side = max(1, floor(max(width, height) * (1 + 2 * margin) + 0.5))
        left, top = floor(x + (width - side) / 2 + 0.5), floor(y + (height - side) / 2 + 0.5)
        rows = np.clip(np.arange(top, top + side), 0, image.shape[0] - 1)
        columns = np.clip(np.arange(left, left + side), 0, image.shape[1] - 1)
        size = self.described["size"]
        how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        return cv2.resize(image[rows][:, columns], (size, size), interpolation=how)


if __name__ == "__main__":
    given = [float(v) for v in sys.argv[3].split(",")] if len(sys.argv) > 3 else None
    valence, arousal = Model(sys.argv[1])(sys.argv[2], given)
    print(f"valence {valence:+.2f}, arousal {arousal:+.2f}")
