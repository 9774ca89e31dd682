"""AlexNet (Krizhevsky et al. 2012) as torchvision builds it, up to its last layer [lineage]."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from idfer.models.parameters import published, read_parameters

LAST = "classifier.6."


class AlexNet(nn.Module):
    """Five convolutions and two layers of 4096 units with dropout; images of 63 pixels or more.

    Args:
        pretrained: False for random weights, True for torchvision's, or the path of a weight file.

    Raises:
        IdferError: the weights cannot be downloaded.
        RuntimeError: they are not AlexNet's.
    """

    def __init__(self, pretrained: bool | str = False):
        super().__init__()
        from torchvision.models import AlexNet_Weights, alexnet

        whole = alexnet(weights=None)
        whole.classifier[6] = nn.Identity()
        if pretrained:
            state = (
                read_parameters(pretrained)
                if isinstance(pretrained, str)
                else published(AlexNet_Weights.DEFAULT.url)
            )
            whole.load_state_dict({k: v for k, v in state.items() if not k.startswith(LAST)})
        self.features, self.pool, self.classifier = whole.features, whole.avgpool, whole.classifier
        self.num_features = 4096
        self.contract: dict[str, Any] = {
            "size": 224, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
        }  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 4096)."""
        features: Tensor = self.classifier(self.pool(self.features(image)).flatten(1))
        return features
