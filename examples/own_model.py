"""A network of your own, evaluated by idfer: all that `idfer evaluate` asks of a model.

idfer evaluate own_model:Mine MANIFEST -o report
"""

import torch

from idfer.data.preprocess import Preprocess
from idfer.types import Outputs


class Mine:
    """Any torch network that maps (B, 3, 64, 64) to valence and arousal (B, 2)."""

    name, attributes = "mine", ()
    preprocess = Preprocess(size=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    def __init__(self) -> None:
        self.network = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 2), torch.nn.Tanh()
        )

    def predict(self, crops, strength=None):
        """Valence and arousal of crops (B, 64, 64, 3) uint8."""
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return Outputs(self.network(self.preprocess.normalise(pixels)).numpy())
