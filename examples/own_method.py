"""A method of your own, trained, ablated and benchmarked by idfer without a fork.

idfer fit MANIFEST --method own_method:SmoothERM --terms.smooth 0.2
idfer benchmark shift --methods erm,oracle,idfer,own_method:SmoothERM
"""

from dataclasses import dataclass
from typing import ClassVar

from idfer.catalogue import MethodEntry
from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.objectives.va import va_loss
from idfer.search import Range
from idfer.types import Batch


class SmoothERM(Plain):
    """ERM on labels drawn towards their mean."""

    # What it needs and how a benchmark searches it; leave it out for a method like ERM.
    entry: ClassVar = MethodEntry("", "smoothed labels", search={"terms.smooth": Range(0.02, 0.5)})

    @dataclass(frozen=True)
    class Terms:
        """Settings, given as `--terms.NAME`.

        Attributes:
            smooth: how far labels are drawn towards the mean of the training faces.
        """

        smooth: float = 0.1

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        self.mean = setup.facts.target.mean(0)

    def step(self, batch: Batch) -> dict[str, float]:
        """One optimisation step."""
        mean = self.mean.to(batch.target.device)
        target = batch.target + self.terms.smooth * (mean - batch.target)
        loss = va_loss(self.network(batch.image).valence_arousal.float(), target, batch.sample_weight)
        self.descend(loss)
        return numbers(loss=loss)
