"""What every form of residual modules does: detach, attach, and say what it needs."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from idfer.errors import UsageError


class ResidualForm(nn.Module):
    """Splits features into the whole and A parts that can be taken out; a subclass gives `parts`.

    Args:
        attributes: A, the number of attributes.
        dim_in: F, width of the backbone's features.
        dim: D, width of expression and identity features.
        embedding: E, width of retrieved ID vectors, for a form that needs them.

    Attributes:
        needs_retrieved: whether retrieved ID vectors are an input, at inference too.
        form: the name it goes by.
    """

    needs_retrieved: ClassVar[bool] = True
    form: str = ""

    def __init__(self, attributes: int, dim_in: int, dim: int, embedding: int = 0):
        super().__init__()
        self.attributes, self.dim = attributes, dim

    def forward(
        self, z: Tensor, strength: Tensor, retrieved: Tensor | None = None, attach: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Split features.

        Args:
            z: (B, F) backbone features.
            strength: (B, A) or (1, A), m[a]: 1 detaches an attribute, 0 leaves it attached; any real number.
            retrieved: (B, A, E) retrieved ID vectors, for a form that needs them.
            attach: (B, A, D) what `parts` says detaching subtracts from other faces, to add here.

        Returns:
            z_exp (B, D) and r (B, A, D).

        Raises:
            UsageError: this form needs `retrieved`.
        """
        whole, taken, identity = self.parts(z, retrieved)
        left = whole - (strength[..., None] * taken).sum(1)
        if attach is not None:
            left = left + attach.sum(1)
        return self.expression(left), identity

    def parts(self, z: Tensor, retrieved: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Features before anything is detached: the whole (B, D), what detaching subtracts and r, (B, A, D).

        Raises:
            UsageError: this form needs `retrieved`.
        """
        raise NotImplementedError

    def expression(self, left: Tensor) -> Tensor:
        """z_exp (B, D) of what detaching left of the whole."""
        return left

    def required(self, retrieved: Tensor | None) -> Tensor:
        """The ID vectors that this form reads.

        Raises:
            UsageError: there are none.
        """
        if retrieved is None:
            raise UsageError(
                f"the residual form {self.form!r} reads retrieved ID vectors, here too: give an attribute "
                "table of these faces, or train with the form 'distilled'."
            )
        return retrieved
