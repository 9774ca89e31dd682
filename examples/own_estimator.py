"""An objective of your own: a penalty on what the expression feature tells of retrieved attributes.

idfer fit MANIFEST --attributes ATTRIBUTES --terms.estimator own_estimator:Correlation --terms.beta 0.1
idfer ablate GRID.yaml    # with `terms: {estimator: "own_estimator:Correlation", beta: 0.1}` in a variant
"""

import torch

from idfer.objectives.penalty_term import PenaltyTerm


class Correlation(PenaltyTerm):
    """-1/2 sum log(1 - rho^2) over pairs of a feature's and an attribute's coordinate, in nats.

    That is their mutual information where both are Gaussian and the pairs independent. It has no critic.
    """

    sees = "levels"  # level posteriors; "vectors" are whitened ID vectors

    def estimate(self, x, c, mask, share, y):
        """(A,) nats of x (B, D) and c (B, A, K), samples weighted by share (A, B)."""
        x = (
            x - torch.einsum("ab,bd->ad", share, x)[:, None]
        )  # (A, B, D), centred under each attribute's weights
        c = c.transpose(0, 1) - torch.einsum("ab,bak->ak", share, c)[:, None]
        between = torch.einsum("ab,abd,abk->adk", share, x, c).square()
        alone = (
            torch.einsum("ab,abd->ad", share, x.square())[:, :, None]
            * (torch.einsum("ab,abk->ak", share, c.square())[:, None])
        )
        rho2 = (between / (alone + 1e-8)).clamp_max(0.99)
        return -0.5 * (torch.log1p(-rho2) * mask[:, None]).sum((1, 2))

    def losses(self, x, c, mask, y):
        """(A,) zeros: there is no critic to teach."""
        return x.new_zeros(len(mask), requires_grad=True)
