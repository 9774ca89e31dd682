"""Independent judges of decoded faces: networks trained on rendered people whom nobody else sees.

One reads valence and arousal (ERM, on faces whose labels do not depend on the person), one tells people
apart; no decoder sees either in training, and the judges see neither its people nor those it is tested on.
The second also gives a perceptual distance (after Zhang et al. 2018, LPIPS, without its weights, which are of
photographs) and the features of a Frechet distance (Heusel et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.models.conv4 import Conv4

Pictures = NDArray[np.uint8]
_BATCH, _LR, _SCALE, _WIDTH = 64, 0.002, 16.0, 64


class IdentityNet(nn.Module):
    """conv4 with an embedding of unit length, trained to name the people of its training faces.

    Args:
        people: how many.
    """

    def __init__(self, people: int):
        super().__init__()
        self.backbone = Conv4()
        self.embed = nn.Linear(self.backbone.num_features, _WIDTH)
        self.people = nn.Parameter(torch.randn(people, _WIDTH))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> (B, 64) of unit length."""
        return F.normalize(self.embed(self.backbone(image)), dim=1)

    def logits(self, image: Tensor) -> Tensor:
        """(B, people): scaled cosines."""
        cosines: Tensor = self(image) @ F.normalize(self.people, dim=1).T
        return _SCALE * cosines

    def layers(self, image: Tensor) -> list[Tensor]:
        """Activations after each of the four convolutions."""
        found, picture = [], image
        for layer in self.backbone.features:
            picture = layer(picture)
            if isinstance(layer, nn.ReLU):
                found.append(picture)
        return found


def train_identity_net(crops: Pictures, person: NDArray[np.intp], epochs: int, seed: int) -> IdentityNet:
    """Train on N crops (N, S, S, 3) of people numbered from 0."""
    torch.manual_seed(seed)
    net = IdentityNet(int(person.max()) + 1)
    adam = torch.optim.AdamW(net.parameters(), lr=_LR)
    images, who = _scaled(crops), torch.from_numpy(person)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=generator).split(_BATCH):
            if len(rows) < 2:
                continue
            shown = images[rows].flip(3) if torch.rand(1, generator=generator) < 0.5 else images[rows]
            loss = F.cross_entropy(net.logits(shown), who[rows])
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
    return net.eval()


@dataclass(frozen=True)
class Judge:
    """An identity net, to be asked about pictures (N, S, S, 3) uint8."""

    net: IdentityNet

    def embed(self, pictures: Pictures) -> NDArray[np.float32]:
        """(N, 64) of unit length."""
        with torch.inference_mode():
            parts = [self.net(batch) for batch in _scaled(pictures).split(256)]
            return torch.cat(parts).numpy()

    def distance(self, drawn: Pictures, true: Pictures) -> float:
        """Mean squared difference of activations normalised over channels, added over layers."""
        total, count = 0.0, 0
        with torch.inference_mode():
            for a, b in zip(_scaled(drawn).split(256), _scaled(true).split(256), strict=True):
                for x, y in zip(self.net.layers(a), self.net.layers(b), strict=True):
                    square = (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1)
                    total += float(square.mean(dim=(1, 2)).sum())
                count += len(a)
        return total / count

    def frechet(self, drawn: Pictures, true: Pictures) -> float:
        """Frechet distance between normals fitted to the embeddings of two sets of pictures."""
        from scipy.linalg import sqrtm

        a, b = self.embed(drawn).astype(np.float64), self.embed(true).astype(np.float64)
        cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        root = np.real(sqrtm(cov_a @ cov_b))
        return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * root))

    def named(self, pictures: Pictures, gallery: Pictures, person: NDArray[np.intp]) -> NDArray[np.intp]:
        """(N,) the person of the gallery whose mean embedding is nearest.

        Args:
            pictures: N faces.
            gallery: M faces of known people.
            person: (M,) whose each is, from 0.
        """
        known = self.embed(gallery)
        means = np.stack([known[person == k].mean(0) for k in range(int(person.max()) + 1)])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return np.asarray((self.embed(pictures) @ means.T).argmax(1))


def _scaled(pictures: Pictures) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
