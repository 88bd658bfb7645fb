"""The kernels on plain NumPy arrays.

Images have the shape ``(n, c, h, w)``, vectors ``(n, features)``. float32 and float16 are computed in
float32, everything else in float64. Every function has the parameter ``n_threads`` (None: one for each
physical core that the process may use); the result does not depend on it. Backward functions return gradients
in the order of the forward function's arguments.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from skconvnet._docs import Documented, fill_docstring
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._network import Network
from skconvnet._types import Array, Padding, Shape, Size
from skconvnet.kernels import count_threads
from skconvnet.layers import (
    ELU,
    GELU,
    SELU,
    Arctan,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    MaxPool2D,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
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
    "hardswish",
    "leaky_relu",
    "log_softmax",
    "max_pool2d",
    "max_pool2d_backward",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]

# Kinds and descriptions of parameters in docstrings.
_IMAGES = "array-like of shape (n, channels, height, width)"
_IMAGES_OR_VECTORS = f"{_IMAGES} or (n, features)"
_PARAMETERS = {
    "x": _IMAGES,
    "padding": """"valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
        As for :class:`skconvnet.layers.Conv2D`.""",
    "n_threads": "int, default=None",
}
_CONV = {
    **_PARAMETERS,
    "weight": "array-like of shape (filters, channels // groups, kh, kw)",
    "bias": "array-like of shape (filters,), default=None\nNone for zero.",
    "dy": "array-like of shape (n, filters, ho, wo)\nGradient with respect to the output.",
    "stride": "int or (int, int), default=1\nAs for :class:`skconvnet.layers.Conv2D`.",
    "dilation": "int or (int, int), default=1\nAs for :class:`skconvnet.layers.Conv2D`.",
    "groups": """int, default=1
        Number of groups of channels and filters; a filter reads only the channels of its group.""",
    "connections": """array-like of bool of shape (filters, channels), default=None
        Which channels each filter reads; weights of the others are ignored.""",
}
_POOL = {
    **_PARAMETERS,
    "dy": "array-like of shape (n, channels, ho, wo)\nGradient with respect to the output.",
    "pool_size": "int or (int, int)",
    "stride": "int or (int, int), default=None\nNone for pool_size.",
    "count_include_pad": """bool, default=False
        Whether to divide by the area of the window instead of by the number of its pixels in the image.""",
}
_DENSE = {
    **_PARAMETERS,
    "x": "array-like of shape (n, inputs)",
    "weight": "array-like of shape (units, inputs)",
    "bias": "array-like of shape (units,), default=None\nNone for zero.",
    "dy": "array-like of shape (n, units)\nGradient with respect to the output.",
}
_SECTIONS = """Parameters
----------
$parameters

Returns
-------
$returns

Raises
------
TypeError
    If an array is masked or not of numbers.
ValueError
    $errors"""


def _document(
    texts: dict[str, str], returns: str, errors: str = "If shapes do not fit.", **words: str
) -> Callable[[Documented], Documented]:
    """Return a decorator that fills in the sections of a docstring on parameters, results and errors."""
    return fill_docstring(
        texts, sections=_SECTIONS, returns=inspect.cleandoc(returns), errors=errors, **words
    )


def _prepare(
    what: str,
    array: ArrayLike,
    ndims: Sequence[int] | None,
    dtype: DTypeLike | None = None,
    shape: Shape | None = None,
) -> Array:
    """Check an argument's dimensions, if given, and make it an aligned array of the working dtype."""
    if np.ma.is_masked(array):
        raise TypeError(f"{what} is a masked array; fill or drop the masked values first.")
    array = np.asarray(array)
    if dtype is None:
        dtype = np.float32 if array.dtype in (np.float32, np.float16) else np.float64
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{what} must be an array of numbers, got {array.dtype}.")
    if shape is not None and array.shape != tuple(shape):
        raise ValueError(f"{what} must have shape {tuple(shape)}, got {array.shape}.")
    if ndims is not None and (array.ndim not in ndims or array.size == 0):
        wanted = " or ".join(str(n) for n in ndims)
        raise ValueError(f"{what} must be a non-empty array of {wanted} dimensions, got shape {array.shape}.")
    return np.require(array, dtype, "A")


def _build(layer: Layer, x: Array, **parameters: Array) -> Network:
    """Return a network of one layer with these parameters."""
    network = Network([layer], x.shape[1:], dtype=x.dtype)
    if parameters:
        network.set_weights({f"0.{name}": value for name, value in parameters.items()})
    return network


def _run(network: Network, x: Array, n_threads: int | None) -> Array:
    """Return the outputs, in their shape."""
    y = network.forward(x, count_threads(n_threads))
    return y.reshape(len(x), *network.output_shape)


def _run_backward(network: Network, x: Array, dy: ArrayLike, n_threads: int | None) -> tuple[Array, ...]:
    """Return the gradients with respect to x and to each parameter."""
    dy = _prepare("dy", dy, (x.ndim,), x.dtype, (len(x), *network.output_shape))
    dx, dparams = network.backward(x, dy, count_threads(n_threads))
    return dx, *network.split(dparams).values()


def _conv(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None, **options: Any) -> tuple[Array, Network]:
    """Check the arrays; return x and a network of a convolution."""
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
        if connected.shape == weight.shape[:2]:  # else the layer raises an error
            weight = np.where(connected[:, :, None, None], weight, 0)
    bias = np.zeros(filters) if bias is None else _prepare("bias", bias, (1,), x.dtype, (filters,))
    return x, _build(layer, x, weight=weight, bias=bias)


@_document(_CONV, "y : ndarray of shape (n, filters, ho, wo)")
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

    $sections

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


@_document(
    _CONV,
    """
    dx : ndarray of shape (n, channels, height, width)
    dweight : ndarray of shape (filters, channels // groups, kh, kw)
        Zero where `connections` is False.
    dbias : ndarray of shape (filters,)
    """,
)
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
    """Backpropagate a gradient through `conv2d`.

    $sections

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


@_document(_POOL, "y : ndarray of shape (n, channels, ho, wo)")
def max_pool2d(
    x: ArrayLike,
    pool_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = "valid",
    n_threads: int | None = None,
) -> Array:
    """Take the maximum over windows of each channel; padding is never the maximum.

    $sections

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.functional import max_pool2d
    >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    x, network = _pool(MaxPool2D, x, pool_size, stride, padding)
    return _run(network, x, n_threads)


@_document(_POOL, "dx : ndarray of shape (n, channels, height, width)")
def max_pool2d_backward(
    x: ArrayLike,
    dy: ArrayLike,
    pool_size: Size,
    *,
    stride: Size | None = None,
    padding: Padding = "valid",
    n_threads: int | None = None,
) -> Array:
    """Backpropagate a gradient through `max_pool2d`, to the first of the largest pixels of each window.

    $sections

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.functional import max_pool2d_backward
    >>> max_pool2d_backward(np.arange(4.0).reshape(1, 1, 2, 2), [[[[5.0]]]], 2)[0, 0]
    array([[0., 0.],
           [0., 5.]])
    """
    x, network = _pool(MaxPool2D, x, pool_size, stride, padding)
    return _run_backward(network, x, dy, n_threads)[0]


class _PaddedAverage(AvgPool2D):
    """An average over the window's whole area."""

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return self._lower(plan, x, "avg_pool", count_padding=True)


def _pool(
    layer: type[MaxPool2D | AvgPool2D], x: ArrayLike, pool_size: Size, stride: Size | None, padding: Padding
) -> tuple[Array, Network]:
    """Check x; return x and a network of a pooling layer."""
    x = _prepare("x", x, (4,))
    return x, _build(layer(pool_size, stride=stride, padding=padding), x)


@_document(_POOL, "y : ndarray of shape (n, channels, ho, wo)")
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

    $sections

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.functional import avg_pool2d
    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    layer = _PaddedAverage if count_include_pad else AvgPool2D
    x, network = _pool(layer, x, pool_size, stride, padding)
    return _run(network, x, n_threads)


@_document(
    {**_POOL, "x": f"{_IMAGES}\nOnly its shape and dtype matter."},
    "dx : ndarray of shape (n, channels, height, width)",
)
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
    """Backpropagate a gradient through `avg_pool2d`.

    $sections

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet.functional import avg_pool2d_backward
    >>> avg_pool2d_backward(np.zeros((1, 1, 2, 2)), [[[[5.0]]]], 2)[0, 0]
    array([[1.25, 1.25],
           [1.25, 1.25]])
    """
    layer = _PaddedAverage if count_include_pad else AvgPool2D
    x, network = _pool(layer, x, pool_size, stride, padding)
    return _run_backward(network, x, dy, n_threads)[0]


def _dense(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None) -> tuple[Array, Network]:
    """Check the arrays; return x and a network of a dense layer."""
    x = _prepare("x", x, (2,))
    weight = _prepare("weight", weight, (2,), x.dtype)
    if weight.shape[1] != x.shape[1]:
        raise ValueError(
            f"weight must have shape (units, inputs) with the {x.shape[1]} features of x, got {weight.shape}."
        )
    units = len(weight)
    bias = np.zeros(units) if bias is None else _prepare("bias", bias, (1,), x.dtype, (units,))
    return x, _build(Dense(units), x, weight=weight, bias=bias)


@_document(_DENSE, "y : ndarray of shape (n, units)")
def dense(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, n_threads: int | None = None
) -> Array:
    """Compute ``x @ weight.T + bias``.

    $sections

    Examples
    --------
    >>> from skconvnet.functional import dense
    >>> dense([[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], [0.5, 0.0])
    array([[11.5, 17. ]])
    """
    x, network = _dense(x, weight, bias)
    return _run(network, x, n_threads)


@_document(
    _DENSE,
    """
    dx : ndarray of shape (n, inputs)
    dweight : ndarray of shape (units, inputs)
    dbias : ndarray of shape (units,)
    """,
)
def dense_backward(
    x: ArrayLike, weight: ArrayLike, dy: ArrayLike, *, n_threads: int | None = None
) -> tuple[Array, Array, Array]:
    """Backpropagate a gradient through `dense`.

    $sections

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


@_document(
    {
        **_PARAMETERS,
        "x": _IMAGES_OR_VECTORS,
        **dict.fromkeys(
            ("mean", "variance", "gamma", "beta"), "array-like of shape (channels,) or (features,)"
        ),
        "epsilon": "float, default=1e-5",
    },
    "y : ndarray of the shape of x",
    "If shapes do not fit or a variance is negative.",
)
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

    $sections

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


_ACTIVATION = """

    $sections

    Examples
    --------
    >>> from skconvnet.functional import $name
    >>> $name([[-1.0, 0.0, 2.0]]).round(3)
    array([[$values]])
    """


def _document_activation(values: str, **option: str) -> Callable[[Documented], Documented]:
    """Return a decorator that completes a docstring, given the results of the example."""
    errors = f"If {next(iter(option), 'n_threads')} is out of range."

    def complete(function: Documented) -> Documented:
        if function.__doc__ is not None:
            function.__doc__ += _ACTIVATION
        texts = {**_PARAMETERS, "x": "array-like of any shape", **option}
        return _document(
            texts, "y : ndarray of the shape of x", errors, name=function.__name__, values=values
        )(function)

    return complete


def _activate(layer: Layer, x: ArrayLike, n_threads: int | None) -> Array:
    """Return the outputs of an activation that acts on each element by itself."""
    x = _prepare("x", x, None)
    if x.size == 0:
        return x.copy()
    rows = x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1)
    return _run(_build(layer, rows), rows, n_threads).reshape(x.shape)


@_document_activation("0., 0., 2.")
def relu(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute max(x, 0)."""
    return _activate(ReLU(), x, n_threads)


@_document_activation("-0.01,  0.  ,  2.  ", slope="float, default=0.01\nAt least 0.")
def leaky_relu(x: ArrayLike, slope: float = 0.01, *, n_threads: int | None = None) -> Array:
    """Compute x where x > 0, else slope * x."""
    return _activate(LeakyReLU(slope), x, n_threads)


@_document_activation("0.269, 0.5  , 0.881")
def sigmoid(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute the logistic function 1 / (1 + e^-x)."""
    return _activate(Sigmoid(), x, n_threads)


@_document_activation("-0.762,  0.   ,  0.964")
def tanh(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute the hyperbolic tangent."""
    return _activate(Tanh(), x, n_threads)


@_document_activation("-0.632,  0.   ,  2.   ", alpha="float, default=1.0\nAt least 0.")
def elu(x: ArrayLike, alpha: float = 1.0, *, n_threads: int | None = None) -> Array:
    """Compute x where x > 0, else alpha * (e^x - 1)."""
    return _activate(ELU(alpha), x, n_threads)


@_document_activation("-0.159,  0.   ,  1.954")
def gelu(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute x times the standard normal distribution function of x, (1 + erf(x / sqrt(2))) / 2."""
    return _activate(GELU(), x, n_threads)


@_document_activation("0., 0., 2.")
def relu6(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute min(max(x, 0), 6)."""
    return _activate(ReLU6(), x, n_threads)


@_document_activation("-1.111,  0.   ,  2.101")
def selu(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute s * x where x > 0, else s * a * (e^x - 1), for s = 1.0507... and a = 1.6732..."""
    return _activate(SELU(), x, n_threads)


@_document_activation("-0.269,  0.   ,  1.762")
def silu(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute x / (1 + e^-x)."""
    return _activate(SiLU(), x, n_threads)


@_document_activation("-0.303,  0.   ,  1.944")
def mish(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute x * tanh(log(1 + e^x))."""
    return _activate(Mish(), x, n_threads)


@_document_activation("-0.333,  0.   ,  1.667")
def hardswish(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute x * min(max(x + 3, 0), 6) / 6."""
    return _activate(Hardswish(), x, n_threads)


@_document_activation("-0.5  ,  0.   ,  0.667")
def softsign(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute x / (1 + abs(x))."""
    return _activate(Softsign(), x, n_threads)


@_document_activation("0.313, 0.693, 2.127")
def softplus(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute log(1 + e^x), without overflow."""
    return _activate(Softplus(), x, n_threads)


@_document_activation("-0.785,  0.   ,  1.107")
def arctan(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute the arc tangent."""
    return _activate(Arctan(), x, n_threads)


_SOFTMAX = {**_PARAMETERS, "x": _IMAGES_OR_VECTORS}


@_document(_SOFTMAX, "y : ndarray of the shape of x", "If x has other dimensions.")
def softmax(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute e^x divided by its sum over the channels or features, without overflow.

    $sections

    Examples
    --------
    >>> from skconvnet.functional import softmax
    >>> softmax([[-1.0, 0.0, 2.0]]).round(3)
    array([[0.042, 0.114, 0.844]])
    """
    x = _prepare("x", x, (2, 4))
    return _run(_build(Softmax(), x), x, n_threads)


@_document(_SOFTMAX, "y : ndarray of the shape of x", "If x has other dimensions.")
def log_softmax(x: ArrayLike, *, n_threads: int | None = None) -> Array:
    """Compute the logarithm of `softmax`, without underflow.

    $sections

    Examples
    --------
    >>> from skconvnet.functional import log_softmax
    >>> log_softmax([[-1.0, 0.0, 2.0]]).round(3)
    array([[-3.17, -2.17, -0.17]])
    """
    x = _prepare("x", x, (2, 4))
    return _run(_build(LogSoftmax(), x), x, n_threads)


@_document(
    {
        **_PARAMETERS,
        "logits": "array-like of shape (n, classes)",
        "target": "array-like of int of shape (n,)\nClass indices.",
        "sample_weight": """array-like of shape (n,), default=None
            None for equal weights. The mean divides by the sum of the weights.""",
    },
    """
    loss : float
    dlogits : ndarray of shape (n, classes)
    """,
    "If shapes do not fit, a class index is out of range, or the weights are negative or all zero.",
)
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    n_threads: int | None = None,
) -> tuple[float, Array]:
    """Compute the weighted mean cross-entropy of softmax(logits), and its gradient.

    $sections

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
        raise ValueError("sample_weight must have finite values of at least 0, not all 0.")
    network = Network([], (classes,), dtype=logits.dtype)
    loss, dlogits, _ = network.loss(logits, target.astype(np.intp), sample_weight, count_threads(n_threads))
    return loss, dlogits
