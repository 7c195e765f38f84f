"""Special functions, under the names of `torch.special`.

What `torch` has at its top level too are the same functions here: `expit` is `sigmoid`, `gammaln` is
`lgamma`, `psi` is `digamma`. The others are computed in float64, for float32 too, and rounded once; their
errors are a few units in the last place (`lampion/numerics`).

>>> import lampion
>>> lampion.special.expit(lampion.tensor([0.0, 1.0]))
tensor([0.5000, 0.7311])
>>> lampion.special.bessel_j0(lampion.tensor([0.0, 1.0]))
tensor([1.0000, 0.7652])
"""

from lampion.ops import (
    digamma,
    erf,
    erfc,
    erfinv,
    exp2,
    expm1,
    i0,
    log1p,
    logit,
    logsumexp,
    polygamma,
    round,
    sinc,
    xlogy,
)  # fmt: skip
from lampion.ops import digamma as psi
from lampion.ops import i0 as modified_bessel_i0
from lampion.ops import igamma as gammainc
from lampion.ops import igammac as gammaincc
from lampion.ops import lgamma as gammaln
from lampion.ops import mvlgamma as multigammaln
from lampion.ops import sigmoid as expit
from lampion.ops.bessel import (
    airy_ai,
    bessel_j0,
    bessel_j1,
    bessel_y0,
    bessel_y1,
    i0e,
    i1e,
    modified_bessel_k0,
    modified_bessel_k1,
    scaled_modified_bessel_k0,
    scaled_modified_bessel_k1,
    spherical_bessel_j0,
)  # fmt: skip
from lampion.ops.gamma import i1
from lampion.ops.gamma import i1 as modified_bessel_i1
from lampion.ops.special import (
    chebyshev_polynomial_t,
    chebyshev_polynomial_u,
    chebyshev_polynomial_v,
    chebyshev_polynomial_w,
    entr,
    erfcx,
    hermite_polynomial_h,
    hermite_polynomial_he,
    laguerre_polynomial_l,
    legendre_polynomial_p,
    log_ndtr,
    ndtr,
    ndtri,
    shifted_chebyshev_polynomial_t,
    shifted_chebyshev_polynomial_u,
    shifted_chebyshev_polynomial_v,
    shifted_chebyshev_polynomial_w,
    xlog1py,
    zeta,
)  # fmt: skip
from lampion.special.probabilities import log_softmax, softmax

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t",
    "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma", "entr", "erf",
    "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc", "gammaln",
    "hermite_polynomial_h", "hermite_polynomial_he", "i0", "i0e", "i1", "i1e", "laguerre_polynomial_l",
    "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp", "modified_bessel_i0",
    "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1", "multigammaln", "ndtr", "ndtri",
    "polygamma", "psi", "round", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
    "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0", "xlog1py", "xlogy", "zeta",
]  # fmt: skip
