"""The kernels on plain NumPy arrays.

Images are ``(n, c, h, w)``, vectors ``(n, features)``, of float32 or float64 (anything else is
computed in float64 if it is an int or a float wider than float32, in float32 otherwise). Every
function takes ``n_threads`` (None: one for each physical core that the process may use); the result does
not depend on it. Backward functions return gradients in the order of the forward's arguments.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._network import Network
from skconvnet._types import Array, Padding, Shape, Size
from skconvnet.kernels import count_threads
from skconvnet.layers import (
    ELU,
    GELU,
    Arctan,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    LeakyReLU,
    LogSoftmax,
    MaxPool2D,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from skconvnet.layers.base import Layer

__all__ = [
    "arctan",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "conv2d",
    "conv2d_backward",
    "cross_entropy",
    "dense",
    "dense_backward",
    "elu",
    "gelu",
    "leaky_relu",
    "log_softmax",
    "max_pool2d",
    "max_pool2d_backward",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
]


def _prepare(
    what: str,
    array: ArrayLike,
    ndims: Sequence[int],
    dtype: DTypeLike | None = None,
    shape: Shape | None = None,
) -> Array:
    """Check an argument's dimensions and make it an aligned array of the working dtype."""
    if np.ma.is_masked(array):
        raise TypeError(f"{what} is a masked array; fill or drop what it masks first.")
    array = np.asarray(array)
    if dtype is None:
        dtype = np.float32 if array.dtype in (np.float32, np.float16) else np.float64
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{what} must be an array of numbers, got {array.dtype}.")
    if shape is not None and array.shape != tuple(shape):
        raise ValueError(f"{what} must have shape {tuple(shape)}, got {array.shape}.")
    if array.ndim not in ndims or array.size == 0:
        wanted = " or ".join(str(n) for n in ndims)
        raise ValueError(f"{what} must be a non-empty array of {wanted} dimensions, got shape {array.shape}.")
    return np.require(array, dtype, "A")


def _build(layer: Layer, x: Array, **parameters: Array) -> Network:
    """Make a network of one layer with these parameters."""
    network = Network([layer], x.shape[1:], dtype=x.dtype)
    if parameters:
        network.set_weights({f"0.{name}": value for name, value in parameters.items()})
    return network


def _run(network: Network, x: Array, n_threads: int | None) -> Array:
    y = network.forward(x, count_threads(n_threads))
    return y.reshape(len(x), *network.output_shape)


def _run_backward(network: Network, x: Array, dy: ArrayLike, n_threads: int | None) -> tuple[Array, ...]:
    dy = _prepare("dy", dy, (x.ndim,), x.dtype, (len(x), *network.output_shape))
    dx, dparams = network.backward(x, dy, count_threads(n_threads))
    return dx, *network.split(dparams).values()


def _conv(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None, **options: Any) -> tuple[Array, Network]:
    x = _prepare("x", x, (4,))
    weight = _prepare("weight", weight, (4,), x.dtype)
    filters, kernel_size = len(weight), weight.shape[2:]
    layer = Conv2D(filters, kernel_size, **options)
    if weight.shape[1] * layer.groups != x.shape[1]:
        raise ValueError(
            f"weight must have shape (filters, channels / groups, kh, kw) with the {x.shape[1]} "
            f"channels of x and {layer.groups} groups, got {weight.shape}."
        )
    if options["connections"] is not None:
        connected = np.asarray(options["connections"], bool)
        if connected.shape == weight.shape[:2]:  # the layer words the error otherwise
            weight = np.where(connected[:, :, None, None], weight, 0)
    bias = np.zeros(filters) if bias is None else _prepare("bias", bias, (1,), x.dtype, (filters,))
    return x, _build(layer, x, weight=weight, bias=bias)


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Size = 1,
    padding: Padding = "valid",
    dilation: Size = 1,
    groups: int = 1,
    connections: ArrayLike | None = None,
    n_threads: int | None = None,
) -> Array:
    """Convolve images with filters (cross-correlation: filters are not flipped).

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width)
    weight : array-like of shape (filters, channels // groups, kh, kw)
    bias : array-like of shape (filters,), default=None
        None for zero.
    stride : int or (int, int), default=1
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
    dilation : int or (int, int), default=1
        As for :class:`skconvnet.layers.Conv2D`, these three.
    groups : int, default=1
        Channels and filters are cut into so many groups, which do not see each other.
    connections : array-like of bool of shape (filters, channels), default=None
        Which channels each filter sees; weights of the others do not count.
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of shape (n, filters, ho, wo)

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.functional import conv2d
    >>> conv2d(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)))[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    x, network = _conv(x, weight, bias, **options, groups=groups, connections=connections)
    return _run(network, x, n_threads)


def conv2d_backward(
    x: ArrayLike,
    weight: ArrayLike,
    dy: ArrayLike,
    *,
    stride: Size = 1,
    padding: Padding = "valid",
    dilation: Size = 1,
    groups: int = 1,
    connections: ArrayLike | None = None,
    n_threads: int | None = None,
) -> tuple[Array, Array, Array]:
    """Push a gradient back through `conv2d`.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width)
    weight : array-like of shape (filters, channels // groups, kh, kw)
    dy : array-like of shape (n, filters, ho, wo)
        Gradient to the output.
    stride, padding, dilation, groups, connections, n_threads
        As for `conv2d`.

    Returns
    -------
    dx : ndarray of shape (n, channels, height, width)
    dweight : ndarray of shape (filters, channels // groups, kh, kw)
        Zero where `connections` is False.
    dbias : ndarray of shape (filters,)

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.functional import conv2d_backward
    >>> x, weight, dy = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    >>> dx, dweight, dbias = conv2d_backward(x, weight, dy)
    >>> dx[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    x, network = _conv(x, weight, None, **options, groups=groups, connections=connections)
    dx, dweight, dbias = _run_backward(network, x, dy, n_threads)
    return dx, dweight, dbias


def max_pool2d(
    x: ArrayLike,
    pool_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = "valid",
    n_threads: int | None = None,
) -> Array:
    """Take the maximum over windows of each channel; padding never wins.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width)
    pool_size : int or (int, int)
    stride : int or (int, int), default=None
        None for pool_size.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of shape (n, channels, ho, wo)

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.functional import max_pool2d
    >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    x = _prepare("x", x, (4,))
    return _run(_build(MaxPool2D(pool_size, stride=stride, padding=padding), x), x, n_threads)


def max_pool2d_backward(
    x: ArrayLike,
    dy: ArrayLike,
    pool_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = "valid",
    n_threads: int | None = None,
) -> Array:
    """Push a gradient back through `max_pool2d`: to the first of a window's largest pixels.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width)
    dy : array-like of shape (n, channels, ho, wo)
        Gradient to the output.
    pool_size, stride, padding, n_threads
        As for `max_pool2d`.

    Returns
    -------
    dx : ndarray of shape (n, channels, height, width)

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.functional import max_pool2d_backward
    >>> max_pool2d_backward(np.arange(4.0).reshape(1, 1, 2, 2), [[[[5.0]]]], 2)[0, 0]
    array([[0., 0.],
           [0., 5.]])
    """
    x = _prepare("x", x, (4,))
    network = _build(MaxPool2D(pool_size, stride=stride, padding=padding), x)
    return _run_backward(network, x, dy, n_threads)[0]


class _PaddedAverage(AvgPool2D):
    """An average over the window's whole area."""

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return self._lower(plan, x, "avg_pool", count_padding=True)


def _average(
    x: ArrayLike, pool_size: Size, stride: Size | None, padding: Padding, count_include_pad: bool
) -> tuple[Array, Network]:
    x = _prepare("x", x, (4,))
    layer = _PaddedAverage if count_include_pad else AvgPool2D
    return x, _build(layer(pool_size, stride=stride, padding=padding), x)


def avg_pool2d(
    x: ArrayLike,
    pool_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = "valid",
    count_include_pad: bool = False,
    n_threads: int | None = None,
) -> Array:
    """Take the average over windows of each channel.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width)
    pool_size : int or (int, int)
    stride : int or (int, int), default=None
        None for pool_size.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
    count_include_pad : bool, default=False
        Divide by the window's whole area instead of by the pixels that are really there.
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of shape (n, channels, ho, wo)

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.functional import avg_pool2d
    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    x, network = _average(x, pool_size, stride, padding, count_include_pad)
    return _run(network, x, n_threads)


def avg_pool2d_backward(
    x: ArrayLike,
    dy: ArrayLike,
    pool_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = "valid",
    count_include_pad: bool = False,
    n_threads: int | None = None,
) -> Array:
    """Push a gradient back through `avg_pool2d`.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width)
        Only its shape and dtype matter.
    dy : array-like of shape (n, channels, ho, wo)
        Gradient to the output.
    pool_size, stride, padding, count_include_pad, n_threads
        As for `avg_pool2d`.

    Returns
    -------
    dx : ndarray of shape (n, channels, height, width)

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.functional import avg_pool2d_backward
    >>> avg_pool2d_backward(np.zeros((1, 1, 2, 2)), [[[[5.0]]]], 2)[0, 0]
    array([[1.25, 1.25],
           [1.25, 1.25]])
    """
    x, network = _average(x, pool_size, stride, padding, count_include_pad)
    return _run_backward(network, x, dy, n_threads)[0]


def _dense(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None) -> tuple[Array, Network]:
    x = _prepare("x", x, (2,))
    weight = _prepare("weight", weight, (2,), x.dtype)
    if weight.shape[1] != x.shape[1]:
        raise ValueError(
            f"weight must have shape (units, inputs) with the {x.shape[1]} features of x, got {weight.shape}."
        )
    units = len(weight)
    bias = np.zeros(units) if bias is None else _prepare("bias", bias, (1,), x.dtype, (units,))
    return x, _build(Dense(units), x, weight=weight, bias=bias)


def dense(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, n_threads: int | None = None
) -> Array:
    """Compute ``x @ weight.T + bias``.

    Parameters
    ----------
    x : array-like of shape (n, inputs)
    weight : array-like of shape (units, inputs)
    bias : array-like of shape (units,), default=None
        None for zero.
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of shape (n, units)

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> from skconvnet.functional import dense
    >>> dense([[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], [0.5, 0.0])
    array([[11.5, 17. ]])
    """
    x, network = _dense(x, weight, bias)
    return _run(network, x, n_threads)


def dense_backward(
    x: ArrayLike, weight: ArrayLike, dy: ArrayLike, *, n_threads: int | None = None
) -> tuple[Array, Array, Array]:
    """Push a gradient back through `dense`.

    Parameters
    ----------
    x : array-like of shape (n, inputs)
    weight : array-like of shape (units, inputs)
    dy : array-like of shape (n, units)
        Gradient to the output.
    n_threads : int, default=None

    Returns
    -------
    dx : ndarray of shape (n, inputs)
    dweight : ndarray of shape (units, inputs)
    dbias : ndarray of shape (units,)

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> from skconvnet.functional import dense_backward
    >>> dx, dweight, dbias = dense_backward([[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], [[1.0, 0.0]])
    >>> dx
    array([[3., 4.]])
    """
    x, network = _dense(x, weight, None)
    dx, dweight, dbias = _run_backward(network, x, dy, n_threads)
    return dx, dweight, dbias


def batch_norm(
    x: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    *,
    epsilon: float = 1e-5,
    n_threads: int | None = None,
) -> Array:
    """Compute ``gamma * (x - mean) / sqrt(variance + epsilon) + beta`` for each channel.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    mean, variance, gamma, beta : array-like of shape (channels,) or (features,)
    epsilon : float, default=1e-5
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If shapes do not fit or a variance is negative.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift", ICML 2015; algorithm 2.

    Examples
    --------
    >>> from skconvnet.functional import batch_norm
    >>> batch_norm([[3.0], [5.0]], [4.0], [4.0], [2.0], [1.0]).round(3)
    array([[0.],
           [2.]])
    """
    x = _prepare("x", x, (2, 4))
    given = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": variance}
    names = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}
    values = {key: _prepare(names[key], value, (1,), x.dtype, (x.shape[1],)) for key, value in given.items()}
    return _run(_build(BatchNorm(epsilon=epsilon), x, **values), x, n_threads)


def _activate(layer: Layer, x: ArrayLike, n_threads: int | None) -> Array:
    x = _prepare("x", x, (2, 4))
    return _run(_build(layer, x), x, n_threads)


def relu(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute max(x, 0).

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If x has other dimensions.

    Examples
    --------
    >>> from skconvnet.functional import relu
    >>> relu([[-1.0, 0.0, 2.0]]).round(3)
    array([[0., 0., 2.]])
    """
    return _activate(ReLU(), x, n_threads)


def leaky_relu(x: ArrayLike, slope: float = 0.01, *, n_threads: int | None = None) -> Array:
    """Compute x where x > 0, else slope * x.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    slope : float, default=0.01
        At least 0.
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If x has other dimensions, or slope is negative or not finite.

    Examples
    --------
    >>> from skconvnet.functional import leaky_relu
    >>> leaky_relu([[-1.0, 0.0, 2.0]]).round(3)
    array([[-0.01,  0.  ,  2.  ]])
    """
    return _activate(LeakyReLU(slope), x, n_threads)


def sigmoid(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute the logistic function 1 / (1 + e^-x).

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If x has other dimensions.

    Examples
    --------
    >>> from skconvnet.functional import sigmoid
    >>> sigmoid([[-1.0, 0.0, 2.0]]).round(3)
    array([[0.269, 0.5  , 0.881]])
    """
    return _activate(Sigmoid(), x, n_threads)


def tanh(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute the hyperbolic tangent.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If x has other dimensions.

    Examples
    --------
    >>> from skconvnet.functional import tanh
    >>> tanh([[-1.0, 0.0, 2.0]]).round(3)
    array([[-0.762,  0.   ,  0.964]])
    """
    return _activate(Tanh(), x, n_threads)


def elu(x: ArrayLike, alpha: float = 1.0, *, n_threads: int | None = None) -> Array:
    """Compute x where x > 0, else alpha * (e^x - 1).

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    alpha : float, default=1.0
        At least 0.
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If x has other dimensions, or alpha is negative or not finite.

    Examples
    --------
    >>> from skconvnet.functional import elu
    >>> elu([[-1.0, 0.0, 2.0]]).round(3)
    array([[-0.632,  0.   ,  2.   ]])
    """
    return _activate(ELU(alpha), x, n_threads)


def gelu(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute x times the normal distribution up to x, (1 + erf(x / sqrt(2))) / 2.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If x has other dimensions.

    Examples
    --------
    >>> from skconvnet.functional import gelu
    >>> gelu([[-1.0, 0.0, 2.0]]).round(3)
    array([[-0.159,  0.   ,  1.954]])
    """
    return _activate(GELU(), x, n_threads)


def softplus(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute log(1 + e^x), without overflow.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If x has other dimensions.

    Examples
    --------
    >>> from skconvnet.functional import softplus
    >>> softplus([[-1.0, 0.0, 2.0]]).round(3)
    array([[0.313, 0.693, 2.127]])
    """
    return _activate(Softplus(), x, n_threads)


def arctan(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute the arc tangent.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If x has other dimensions.

    Examples
    --------
    >>> from skconvnet.functional import arctan
    >>> arctan([[-1.0, 0.0, 2.0]]).round(3)
    array([[-0.785,  0.   ,  1.107]])
    """
    return _activate(Arctan(), x, n_threads)


def softmax(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute e^x over its sum along the channels or features, shifted so as not to overflow.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If x has other dimensions.

    Examples
    --------
    >>> from skconvnet.functional import softmax
    >>> softmax([[-1.0, 0.0, 2.0]]).round(3)
    array([[0.042, 0.114, 0.844]])
    """
    return _activate(Softmax(), x, n_threads)


def log_softmax(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute the logarithm of `softmax`, without underflow.

    Parameters
    ----------
    x : array-like of shape (n, channels, height, width) or (n, features)
    n_threads : int, default=None

    Returns
    -------
    y : ndarray of the shape of x

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If x has other dimensions.

    Examples
    --------
    >>> from skconvnet.functional import log_softmax
    >>> log_softmax([[-1.0, 0.0, 2.0]]).round(3)
    array([[-3.17, -2.17, -0.17]])
    """
    return _activate(LogSoftmax(), x, n_threads)


def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    n_threads: int | None = None,
) -> tuple[float, Array]:
    """Compute the weighted mean cross-entropy of softmax(logits), and its gradient.

    Parameters
    ----------
    logits : array-like of shape (n, classes)
    target : array-like of int of shape (n,)
        Class indices.
    sample_weight : array-like of shape (n,), default=None
        None for equal weights. The mean divides by their sum.
    n_threads : int, default=None

    Returns
    -------
    loss : float
    dlogits : ndarray of shape (n, classes)

    Raises
    ------
    TypeError
        If an array is masked or not of numbers.
    ValueError
        If shapes do not fit, a class index is out of range, or the weights are negative or all zero.

    Examples
    --------
    >>> from skconvnet.functional import cross_entropy
    >>> loss, dlogits = cross_entropy([[2.0, 2.0]], [0])
    >>> dlogits
    array([[-0.5,  0.5]])
    """
    logits = _prepare("logits", logits, (2,))
    n, classes = logits.shape
    target = np.asarray(target)
    if target.shape != (n,) or target.dtype.kind not in "iu":
        raise ValueError(
            f"target must be an array of {n} class indices, got {target.dtype} of shape {target.shape}."
        )
    if target.min() < 0 or target.max() >= classes:
        raise ValueError(
            f"target must be class indices from 0 to {classes - 1}, got {target.min()} to {target.max()}."
        )
    if sample_weight is None:
        sample_weight = np.ones(n)
    sample_weight = _prepare("sample_weight", sample_weight, (1,), np.float64, (n,))
    if not (sample_weight >= 0).all() or not 0 < sample_weight.sum() < np.inf:
        raise ValueError("sample_weight must be finite numbers of at least 0, not all 0.")
    network = Network([], (classes,), dtype=logits.dtype)
    loss, dlogits, _ = network.loss(logits, target.astype(np.intp), sample_weight, count_threads(n_threads))
    return loss, dlogits
