r"""A small network per attribute, all in one batched operation.

    h[a] = GELU(V_a x + u_a),   out[a] = h[a] W_a + x L_a + b_a

The linear path L, 0 at the start, is what a Gaussian pair needs: a hidden layer narrower than x cannot pass
all of it on, and what is built on it then falls short of what x tells [ours].

x (B, dim_in), shared by the attributes, or (B, A, dim_in); returns (A, B, dim_out). No unit of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttributeMLPs(nn.Module):
    """A two-layer network for each of A attributes.

    Args:
        attributes: A.
        dim_in: width of x.
        dim_out: width of the output.
        hidden: width of the hidden layer.
        scale: standard deviation of the output at the start, roughly.
    """

    def __init__(self, attributes: int, dim_in: int, dim_out: int, hidden: int, scale: float = 0.1):
        super().__init__()
        self.attributes = attributes
        self.hidden = nn.Linear(dim_in, attributes * hidden)
        self.out = nn.Parameter(torch.randn(attributes, hidden, dim_out) * hidden**-0.5 * scale)
        self.bias = nn.Parameter(torch.zeros(attributes, 1, dim_out))
        self.linear = nn.Parameter(torch.zeros(attributes, dim_in, dim_out))

    def forward(self, x: Tensor) -> Tensor:
        """(A, B, dim_out) for x (B, dim_in), shared by the attributes, or (B, A, dim_in)."""
        if x.dim() == 2:
            inner = self.hidden(x).view(len(x), self.attributes, -1).transpose(0, 1)
            straight = torch.einsum("bf,afe->abe", x, self.linear)
        else:
            weight = self.hidden.weight.view(self.attributes, -1, x.shape[2]).transpose(1, 2)
            offset = self.hidden.bias.view(self.attributes, 1, -1)
            inner = torch.baddbmm(offset, x.transpose(0, 1), weight)
            straight = torch.bmm(x.transpose(0, 1), self.linear)
        return torch.baddbmm(self.bias, F.gelu(inner), self.out) + straight
