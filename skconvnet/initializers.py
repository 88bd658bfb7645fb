"""Initial weights, by the name of their distribution.

======================  ====================================================================
name                    distribution
======================  ====================================================================
he_normal, he_uniform   variance 2 / fan_in (He et al., "Delving deep into rectifiers", 2015)
glorot_normal, _uniform variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)
lecun_normal, _uniform  variance 1 / fan_in (LeCun et al., "Efficient BackProp", 1998)
small_normal, _uniform  variance 0.03 / fan_in, for output layers: the first outputs hardly differ
normal, uniform         standard deviation 0.05; within +-0.05
zeros                   all zero
======================  ====================================================================

Instead of a name, a callable ``(shape, fan_in, fan_out, rng) -> array`` may be given. A uniform
distribution of variance v extends from -sqrt(3 v) to sqrt(3 v). In a convolution, fan_in is the number
of weights of one filter, and fan_out is the area of the kernel times the number of filters, or of those
in a group.
"""

import numpy as np
from numpy.typing import NDArray

from skconvnet._advice import hint, short_repr
from skconvnet._types import Array, Initializer, Shape
from skconvnet._values import check_function

__all__ = ["INITIALIZERS", "draw"]

_VARIANCES = {
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
    "small": lambda fan_in, fan_out: 0.03 / fan_in,
}
INITIALIZERS = [
    *(f"{scheme}_{shape}" for scheme in _VARIANCES for shape in ("normal", "uniform")),
    "normal",
    "uniform",
    "zeros",
]


def check_initializer(owner: str, init: object) -> None:
    """Require a known name or a callable."""
    if callable(init):
        check_function(owner, "init", init, "shape, fan_in, fan_out, rng")
    elif init not in INITIALIZERS:
        raise ValueError(
            f"{owner}: unknown init {short_repr(init)}.{hint(init, INITIALIZERS)} Valid: "
            f"{', '.join(INITIALIZERS)}, or a callable (shape, fan_in, fan_out, rng) -> array; for given "
            f"weights, use network_.set_weights of a fitted estimator."
        )


def draw(
    init: Initializer, shape: Shape, fan_in: int | Array, fan_out: int | Array, rng: np.random.RandomState
) -> NDArray[np.float64]:
    """Draw weights.

    Parameters
    ----------
    init : str or callable
        A name of the table above, or ``(shape, fan_in, fan_out, rng) -> array``.
    shape : tuple of int
    fan_in, fan_out : int or ndarray
        The numbers of inputs and outputs that a weight connects; an array broadcasts against shape.
    rng : RandomState

    Returns
    -------
    weights : ndarray of float64 of that shape

    Raises
    ------
    ValueError
        If a callable returns another shape or values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.initializers import draw
    >>> draw("zeros", (2, 3), 3, 2, np.random.RandomState(0))
    array([[0., 0., 0.],
           [0., 0., 0.]])
    """
    if callable(init):
        weights = np.array(init(shape, fan_in, fan_out, rng), dtype=np.float64)
        if weights.shape != shape or not np.isfinite(weights).all():
            raise ValueError(
                f"init: the callable must return finite numbers of shape {shape}, got shape {weights.shape}"
                f"{'' if np.isfinite(weights).all() else ' and values that are not finite'}."
            )
        return weights
    scheme, _, distribution = init.rpartition("_")
    if distribution == "zeros":
        return np.zeros(shape)
    if scheme:
        deviation = np.sqrt(_VARIANCES[scheme](fan_in, fan_out))
        limit = np.sqrt(3) * deviation
    else:
        deviation = limit = 0.05
    if distribution == "normal":
        return rng.standard_normal(shape) * deviation
    return rng.uniform(-1, 1, shape) * limit
