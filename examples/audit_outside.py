"""A model written outside idfer, audited: scikit-learn's ridge regression on small grey pictures.

python examples/audit_outside.py OUT

Its training labels go with age, so it learns the shortcut; the audit shows whom it fails on people it has not
seen, and what it tells of them. A model of your own is audited alike, from Python as here or by
`idfer audit --model your_module:score MANIFEST --attributes attributes.parquet -o OUT`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.linear_model import Ridge

import idfer

SIDE = 32


def pixels(crops: np.ndarray) -> np.ndarray:
    """(B, S, S, 3) uint8 as (B, 256) grey values: all that this model looks at."""
    grey = crops.astype(np.float32).mean(axis=3) / 255
    return grey.reshape(len(crops), 16, SIDE // 16, 16, SIDE // 16).mean(axis=(2, 4)).reshape(len(crops), -1)


def main(out: str, people: int = 120, faces: int = 10) -> object:
    """Draw faces, fit the model, audit it; returns the audit."""
    folder = Path(out)
    drawn = {"identities": people, "per_identity": faces, "size": SIDE, "progress": False}
    train = idfer.synth(folder / "train", correlation="age:valence=-0.7", seed=0, **drawn)
    tests = idfer.synth(folder / "tests", seed=1, split="test", **drawn)

    shown = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in train.files])
    ridge = Ridge(1.0).fit(pixels(shown), train.targets)

    def score(crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Uint8 crops to (features, valence and arousal): all that idfer asks of a model."""
        seen = pixels(crops)
        return seen, np.clip(ridge.predict(seen), -1, 1)

    score.size = SIDE  # pixels; says how faces are cut for it
    return idfer.audit(
        tests, model=score, detector="none", out=folder / "audit", name="ridge", progress=False
    )


if __name__ == "__main__":
    print(main(sys.argv[1] if len(sys.argv) > 1 else "runs/audit-outside"))
