"""Correlations between identity factors and labels: parsing, checking, and the Gaussian copula."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from idfer.errors import UsageError, unknown
from idfer.synthetic.population import OWN

FACTORS = OWN
LABELS = ("valence", "arousal")
Correlation = dict[tuple[str, str], float]

_HELP = (
    "write it as FACTOR:LABEL=RHO joined by commas, e.g. age:valence=-0.7,gender:arousal=0.7, "
    "with FACTOR gender, age, skin or another identity factor with a draw of its own (glasses, hair_colour, "
    f"mouth_curve, ...), LABEL one of {', '.join(LABELS)}, RHO in [-1, 1]."
)


def parse(correlation: str | Mapping[tuple[str, str], float] | None) -> Correlation:
    """Read and check correlations, e.g. `"age:valence=-0.7,gender:arousal=0.7"`.

    Args:
        correlation: the text form, a mapping {(factor, label): rho}, or None / "" for independence.

    Returns:
        {(factor, label): rho}, rho being the correlation of the two Gaussian scores. A factor that others
        shape too (glasses with age, hair_colour with skin) is itself correlated less than its score.

    Raises:
        UsageError: malformed text, an unknown factor or label, a pair named twice, rho outside [-1, 1], or
            several factors that together would explain more than the whole label (sum of rho^2 above 1).
    """
    if correlation is None:
        return {}
    pairs = _split(correlation) if isinstance(correlation, str) else list(correlation.items())
    checked: Correlation = {}
    for (factor, label), rho in pairs:
        if factor not in FACTORS:
            raise unknown("identity factor", factor, list(FACTORS), f"Correlation: {_HELP}")
        if label not in LABELS:
            raise unknown("label", label, list(LABELS), f"Correlation: {_HELP}")
        if not math.isfinite(rho) or abs(rho) > 1:
            raise UsageError(f"correlation {factor}:{label}={rho:g} is outside [-1, 1]; {_HELP}")
        if (factor, label) in checked:
            raise UsageError(f"correlation {factor}:{label} is given twice; name each pair once.")
        checked[factor, label] = float(rho)
    for label in LABELS:
        if (total := sum(rho**2 for (_, of), rho in checked.items() if of == label)) > 1 + 1e-9:
            raise UsageError(
                f"the correlations with {label} ask for sum(rho^2) = {total:.2f}; the identity factors are "
                "independent, so at most 1 is possible. Lower some of them."
            )
    return checked


def _split(text: str) -> list[tuple[tuple[str, str], float]]:
    pairs = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        names, equals, value = part.partition("=")
        factor, colon, label = names.partition(":")
        try:
            rho = float(value)
        except ValueError:
            rho = math.nan
        if not (equals and colon) or math.isnan(rho):
            raise UsageError(f"correlation {part!r} cannot be read; {_HELP}")
        pairs.append(((factor.strip(), label.strip()), rho))
    return pairs


def correlate(
    label: str, noise: np.ndarray, scores: Mapping[str, np.ndarray], correlation: Correlation
) -> np.ndarray:
    """Draw one label by a Gaussian copula, so that its marginal does not depend on the correlation.

    y = 2 Phi(s) - 1 with s = sum_f rho_f g_f + sqrt(1 - sum_f rho_f^2) noise: y is uniform on [-1, 1].

    Args:
        label: "valence" or "arousal".
        noise: (N,) standard normal draws of the label itself.
        scores: factor name -> (N,) standard normal score g_f of that factor, independent of each other.
        correlation: as `parse` returns it.

    Returns:
        (N,) label in [-1, 1].
    """
    rhos = {factor: rho for (factor, of), rho in correlation.items() if of == label}
    score = np.sqrt(max(0.0, 1.0 - sum(rho**2 for rho in rhos.values()))) * noise
    for factor, rho in rhos.items():
        score = score + rho * scores[factor]
    return 2 * normal_cdf(score) - 1


def normal_cdf(score: np.ndarray) -> np.ndarray:
    """Phi(score), the standard normal distribution function, elementwise."""
    import torch

    cumulative: np.ndarray = torch.special.ndtr(torch.from_numpy(np.asarray(score, np.float64))).numpy()
    return cumulative
