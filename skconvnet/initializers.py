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
dirac                   for convolutions: the first filters each copy a channel, the others are "he_uniform"
whiten                  for convolutions: principal components of the training data, of variance 1
======================  ====================================================================

Instead of a name, a callable ``(shape, fan_in, fan_out, rng) -> array`` may be given. A uniform
distribution of variance v extends from -sqrt(3 v) to sqrt(3 v). In a convolution, fan_in is the number
of weights of one filter, and fan_out is the area of the kernel times the number of filters, or of those
in a group.

"whiten" takes the images as the layers before make them, of up to 5,000 samples that `fit` or the first
`partial_fit` gets. Filter k is the k-th principal component of the patches under the kernel, divided by the
root of its variance; after all components, or half of the filters, come the negatives of the same; filters
that are left over are "he_uniform" (Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, section
3.2). With ``learning_rate_factor=(0, 1)``, the filters stay as they are, and only their biases are trained.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from skconvnet._advice import hint, short_repr
from skconvnet._types import Array, Initializer, Shape
from skconvnet._values import check_function

__all__ = ["INITIALIZERS", "draw", "whiten"]

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
CONVOLUTION_INITIALIZERS = ["dirac", "whiten"]  # only for convolutions without groups and connections

# Added to the variances of principal components, as a fraction of their mean.
EPSILON = 5e-4


def check_initializer(owner: str, init: object, own: Sequence[str] = ()) -> None:
    """Require a known name, or one that the layer has for its own, or a callable."""
    valid = [*INITIALIZERS, *own]
    if callable(init):
        check_function(owner, "init", init, "shape, fan_in, fan_out, rng")
    elif init not in valid:
        raise ValueError(
            f"{owner}: unknown init {short_repr(init)}.{hint(init, valid)} Valid: "
            f"{', '.join(valid)}, or a callable (shape, fan_in, fan_out, rng) -> array; for given "
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
    if init in CONVOLUTION_INITIALIZERS:
        weights = draw("he_uniform", shape, fan_in, fan_out, rng)
        if init == "dirac":
            copied = np.arange(min(shape[:2]))
            weights[copied] = 0
            area = math.prod(shape[2:])
            centre = np.ravel_multi_index([n // 2 for n in shape[2:]], shape[2:])
            weights.reshape(*shape[:2], area)[copied, copied, centre] = 1
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


@threadpool_limits.wrap(limits=1)  # bitwise identical for any number of BLAS's threads
def whiten(images: Array, weights: Array) -> NDArray[np.float64]:
    """Return weights whose first filters are principal components of the patches of images.

    Parameters
    ----------
    images : ndarray of shape (n, channels, height, width)
        At least as large as the kernel.
    weights : ndarray of shape (filters, channels, kernel height, kernel width)
        Filters beyond twice the number of components stay as they are.

    Returns
    -------
    weights : ndarray of float64 of that shape

    Raises
    ------
    ValueError
        If the images are smaller than the kernel.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.initializers import whiten
    >>> images = np.random.default_rng(0).standard_normal((100, 1, 8, 8)) * 5
    >>> w = whiten(images, np.zeros((2, 1, 1, 1)))
    >>> w.ravel().round(1)
    array([ 0.2, -0.2])
    """
    if images.shape[2] < weights.shape[2] or images.shape[3] < weights.shape[3]:
        raise ValueError(
            f'init="whiten" needs images of at least {weights.shape[2]}x{weights.shape[3]} pixels, as the '
            f"kernel has, got {images.shape[2]}x{images.shape[3]}. Use another init."
        )
    filters, *kernel = weights.shape
    # (channels, n, rows, columns, kernel height, kernel width)
    windows = sliding_window_view(images, kernel[1:], axis=(2, 3)).swapaxes(0, 1)
    size, n = math.prod(kernel), 0
    products, total = np.zeros((size, size)), np.zeros(size)
    for start in range(0, len(images), 100):
        part = windows[:, start : start + 100].astype(np.float64)
        patches = part.transpose(1, 2, 3, 0, 4, 5).reshape(-1, size)
        products += patches.T @ patches
        total += patches.sum(axis=0)
        n += len(patches)
    variances, components = np.linalg.eigh(products / n - np.outer(total, total) / n**2)
    variances = np.maximum(variances, 0)
    scale = np.sqrt(variances + EPSILON * max(variances.mean(), np.finfo(np.float64).tiny))
    # the largest variance first, and the largest element of a component positive
    rows = (components / scale).T[::-1]
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, np.newaxis], axis=1)
    rows = rows * np.sign(largest)
    rows = rows[: -(-filters // 2)]
    rows = np.concatenate([rows, -rows])[:filters]
    whitened = np.array(weights, np.float64)
    whitened[: len(rows)] = rows.reshape(-1, *kernel)
    return whitened
