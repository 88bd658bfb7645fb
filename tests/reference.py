"""Reference implementations of every kernel, in a few lines of NumPy that can be checked by eye.

Arrays are (n, c, h, w) or (n, features). kernel, stride and dilation are pairs, padding is
((top, bottom), (left, right)). Only the tests call these functions.
"""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
from scipy import special
from scipy.ndimage import map_coordinates

from skconvnet._types import Array, Pair, Sides


def _windows(x_padded: Array, kernel: Pair, stride: Pair, dilation: Pair, ho: int, wo: int) -> Iterator[Any]:
    """Yield every kernel element with the (n, c, ho, wo) pixels that it is multiplied by, as a view."""
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            top, left = u * dilation[0], v * dilation[1]
            rows = slice(top, top + (ho - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (wo - 1) * stride[1] + 1, stride[1])
            yield u, v, x_padded[:, :, rows, columns]


def _pad(x: Array, padding: Sides, value: float = 0) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *padding), constant_values=value)


def _count(n_in: int, kernel: int, stride: int, dilation: int, padding: Pair) -> int:
    return (n_in + sum(padding) - (kernel - 1) * dilation - 1) // stride + 1


def _output_size(x: Array, kernel: Pair, stride: Pair, dilation: Pair, padding: Sides) -> list[int]:
    return [_count(*axis) for axis in zip(x.shape[2:], kernel, stride, dilation, padding)]


def conv2d(
    x: Array, weight: Array, bias: Array, stride: Pair, dilation: Pair, padding: Sides, connected: Array
) -> Array:
    """y[n, o, i, j] = bias[o] + sum over connected c and u, v of weight[o, c, u, v] * pixel."""
    kernel = weight.shape[2:]
    ho, wo = _output_size(x, kernel, stride, dilation, padding)
    y = np.zeros((len(x), len(weight), ho, wo), x.dtype) + bias[:, None, None]
    weight = weight * connected[:, :, None, None]
    for u, v, pixels in _windows(_pad(x, padding), kernel, stride, dilation, ho, wo):
        y += np.einsum("oc,ncij->noij", weight[:, :, u, v], pixels)
    return y


def conv2d_backward(
    x: Array, weight: Array, dy: Array, stride: Pair, dilation: Pair, padding: Sides, connected: Array
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias: the transposed sums of conv2d."""
    kernel = weight.shape[2:]
    masked = weight * connected[:, :, None, None]
    dweight = np.zeros_like(weight)
    x_padded = _pad(x, padding)
    dx_padded = np.zeros_like(x_padded)
    windows = _windows(dx_padded, kernel, stride, dilation, *dy.shape[2:])
    for u, v, pixels in _windows(x_padded, kernel, stride, dilation, *dy.shape[2:]):
        dweight[:, :, u, v] = np.einsum("noij,ncij->oc", dy, pixels)
        _, _, gradient = next(windows)
        gradient += np.einsum("oc,noij->ncij", masked[:, :, u, v], dy)
    (top, _), (left, _) = padding
    dx = dx_padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    return dx, dweight * connected[:, :, None, None], dy.sum(axis=(0, 2, 3))


def grouped_conv2d(
    x: Array, weight: Array, bias: Array, groups: int, stride: Pair, dilation: Pair, padding: Sides
) -> Array:
    """A convolution for every group of channels and filters."""
    parts = zip(*(np.split(a, groups, axis) for a, axis in ((x, 1), (weight, 0), (bias, 0))))
    connected = np.ones((len(weight) // groups, weight.shape[1]), bool)
    outputs = [conv2d(x, weight, bias, stride, dilation, padding, connected) for x, weight, bias in parts]
    return np.concatenate(outputs, 1)


def grouped_conv2d_backward(
    x: Array, weight: Array, dy: Array, groups: int, stride: Pair, dilation: Pair, padding: Sides
) -> tuple[Array, ...]:
    """dx, dweight, dbias: those of each convolution."""
    parts = zip(*(np.split(a, groups, axis) for a, axis in ((x, 1), (weight, 0), (dy, 1))))
    connected = np.ones((len(weight) // groups, weight.shape[1]), bool)
    gradients = [
        conv2d_backward(x, weight, dy, stride, dilation, padding, connected) for x, weight, dy in parts
    ]
    return tuple(np.concatenate(a, axis) for a, axis in zip(zip(*gradients), (1, 0, 0)))


def _local_patches(x_padded: Array, weight: Array, stride: Pair) -> Iterator[Any]:
    """Yield every output position with the (n, c, kh, kw) pixels that it reads, as a view."""
    _, ho, wo, _, kh, kw = weight.shape
    for i, j in np.ndindex(ho, wo):
        top, left = i * stride[0], j * stride[1]
        yield i, j, x_padded[:, :, top : top + kh, left : left + kw]


def local_conv2d(x: Array, weight: Array, bias: Array, stride: Pair, padding: Sides) -> Array:
    """y[n, o, i, j] = bias[o, i, j] + sum over c, u, v of weight[o, i, j, c, u, v] * pixel."""
    y = np.zeros((len(x), *weight.shape[:3]), x.dtype) + bias
    for i, j, patch in _local_patches(_pad(x, padding), weight, stride):
        y[:, :, i, j] += np.einsum("ocuv,ncuv->no", weight[:, i, j], patch)
    return y


def local_conv2d_backward(
    x: Array, weight: Array, dy: Array, stride: Pair, padding: Sides
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias: the transposed sums of local_conv2d."""
    dweight, x_padded = np.zeros_like(weight), _pad(x, padding)
    dx_padded = np.zeros_like(x_padded)
    patches = _local_patches(dx_padded, weight, stride)
    for i, j, patch in _local_patches(x_padded, weight, stride):
        dweight[:, i, j] = np.einsum("no,ncuv->ocuv", dy[:, :, i, j], patch)
        _, _, gradient = next(patches)
        gradient += np.einsum("no,ocuv->ncuv", dy[:, :, i, j], weight[:, i, j])
    (top, _), (left, _) = padding
    dx = dx_padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    return dx, dweight, dy.sum(axis=0)


def transposed_conv2d(
    x: Array, weight: Array, bias: Array, groups: int, stride: Pair, dilation: Pair, cut: Sides, size: Pair
) -> Array:
    """Every pixel adds its kernels to an image, of which rows and columns are cut off; size: what is left.

    weight: (channels, filters of a group, kh, kw).
    """
    n, _, h, w = x.shape
    _, filters, kh, kw = weight.shape
    (down, right), (top, left) = stride, (side[0] for side in cut)
    rows, columns = (left_over + sum(sides) for left_over, sides in zip(size, cut))
    y = np.zeros((n, groups, filters, rows, columns))
    x, weight = (a.reshape(groups, -1, *a.shape[1:]) for a in (x.swapaxes(0, 1), weight))
    for u in range(kh):
        for v in range(kw):
            pixels = np.einsum("gcnij,gco->ngoij", x, weight[..., u, v])
            i, j = u * dilation[0], v * dilation[1]
            y[..., i : i + (h - 1) * down + 1 : down, j : j + (w - 1) * right + 1 : right] += pixels
    y = y.reshape(n, groups * filters, rows, columns)[:, :, top : top + size[0], left : left + size[1]]
    return y + np.reshape(bias, (-1, 1, 1))


def upsample2d(x: Array, size: Pair, interpolation: str) -> Array:
    """Repeat pixels, or interpolate linearly between their centres, one axis after the other."""
    for axis, factor in zip((2, 3), size):
        n = x.shape[axis]
        at = (np.arange(n * factor) + 0.5) / factor - 0.5  # in pixels of x
        if interpolation == "nearest":
            x = x.take(np.arange(n * factor) // factor, axis)
        else:
            at = at.clip(0, n - 1)
            low = np.floor(at).astype(int)
            part = (at - low).reshape(-1, *(1,) * (3 - axis))
            x = x.take(low, axis) * (1 - part) + x.take((low + 1).clip(max=n - 1), axis) * part
    return x


def prelu(x: Array, weight: Array) -> Array:
    """x where x > 0, else weight * x, with a weight for each channel."""
    return np.where(x > 0, x, x * weight.reshape(-1, *(1,) * (x.ndim - 2)))


def merge(outputs: list[Array], kind: str) -> Array:
    """Outputs of branches, (n, channels[, rows, columns]); factors of channels may be (n, channels[, 1, 1])."""
    if kind == "concat":
        return np.concatenate(outputs, axis=1)
    rank = max(y.ndim for y in outputs)
    outputs = [y.reshape(y.shape + (1,) * (rank - y.ndim)) for y in outputs]
    functions = {"add": sum, "multiply": prod, "average": lambda ys: sum(ys) / len(ys)}
    return np.maximum.reduce(outputs) if kind == "max" else functions[kind](outputs)


def rescale(x: Array, scale: float, offset: float) -> Array:
    """scale * x + offset."""
    return scale * x + offset


def zero_pad2d(x: Array, padding: Sides) -> Array:
    """Zeros around the image."""
    return _pad(x, padding)


def zero_pad2d_backward(dy: Array, padding: Sides) -> Array:
    """dx: the part of dy within the zeros."""
    (top, bottom), (left, right) = padding
    return dy[:, :, top : dy.shape[2] - bottom, left : dy.shape[3] - right]


def _pool_cells(x: Array, kernel: Pair, stride: Pair, padding: Sides) -> Iterator[Any]:
    """Yield (i, j, rows, columns): every output and the part of the image that it reads."""
    ho, wo = _output_size(x, kernel, stride, (1, 1), padding)
    for i in range(ho):
        top = i * stride[0] - padding[0][0]
        for j in range(wo):
            left = j * stride[1] - padding[1][0]
            rows = slice(max(top, 0), min(top + kernel[0], x.shape[2]))
            yield i, j, rows, slice(max(left, 0), min(left + kernel[1], x.shape[3]))


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Sides) -> Array:
    """The largest pixel of each window; padding is not a pixel."""
    y = np.empty((*x.shape[:2], *_output_size(x, kernel, stride, (1, 1), padding)), x.dtype)
    for i, j, rows, columns in _pool_cells(x, kernel, stride, padding):
        y[:, :, i, j] = x[:, :, rows, columns].max(axis=(2, 3))
    return y


def max_pool2d_backward(x: Array, dy: Array, kernel: Pair, stride: Pair, padding: Sides) -> Array:
    """Each window's gradient goes to the first of its largest pixels; overlaps add up."""
    dx = np.zeros_like(x)
    for i, j, rows, columns in _pool_cells(x, kernel, stride, padding):
        window = x[:, :, rows, columns]
        first = window.reshape(*x.shape[:2], -1).argmax(axis=2)
        u, v = np.unravel_index(first, window.shape[2:])
        sample, channel = np.indices(first.shape)
        dx[sample, channel, rows.start + u, columns.start + v] += dy[:, :, i, j]
    return dx


def avg_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Sides, count_include_pad: bool = False
) -> Array:
    """The mean over the pixels of each window, or over its whole area."""
    y = np.empty((*x.shape[:2], *_output_size(x, kernel, stride, (1, 1), padding)), x.dtype)
    for i, j, rows, columns in _pool_cells(x, kernel, stride, padding):
        window = x[:, :, rows, columns]
        area = kernel[0] * kernel[1] if count_include_pad else window[0, 0].size
        y[:, :, i, j] = window.sum(axis=(2, 3)) / x.dtype.type(area)
    return y


def avg_pool2d_backward(
    x: Array, dy: Array, kernel: Pair, stride: Pair, padding: Sides, count_include_pad: bool = False
) -> Array:
    """Every pixel of a window gets an equal part of its gradient; overlaps add up."""
    dx = np.zeros_like(x)
    for i, j, rows, columns in _pool_cells(x, kernel, stride, padding):
        window = dx[:, :, rows, columns]
        area = kernel[0] * kernel[1] if count_include_pad else window[0, 0].size
        window += (dy[:, :, i, j] / x.dtype.type(area))[:, :, None, None]
    return dx


def dense(x: Array, weight: Array, bias: Array) -> Array:
    """y = x @ weight.T + bias."""
    return x @ weight.T + bias


def dense_backward(x: Array, weight: Array, dy: Array) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias: the transposed products of dense."""
    return dy @ weight, dy.T @ x, dy.sum(axis=0)


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel, over samples and positions."""
    axes = (0, *range(2, x.ndim))
    return x.mean(axes), x.var(axes)


def batch_norm(x: Array, mean: Array, variance: Array, gamma: Array, beta: Array, epsilon: float) -> Array:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, channel by channel."""
    mean, variance, gamma, beta = (_align(v, x) for v in (mean, variance, gamma, beta))
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def batch_norm_backward(x: Array, dy: Array, gamma: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta, through the moments of x as well."""
    axes = (0, *range(2, x.ndim))
    mean, variance = moments(x)
    z = batch_norm(x, mean, variance, np.ones_like(mean), np.zeros_like(mean), epsilon)
    scale = _align(gamma / np.sqrt(variance + epsilon), x)
    dx = scale * (dy - _align(dy.mean(axes), x) - z * _align((dy * z).mean(axes), x))
    return dx, (dy * z).sum(axes), dy.sum(axes)


def _align(values: Array, x: Array) -> Array:
    """Reshape one value per channel to broadcast along the channels of x."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


def layer_norm(x: Array, gamma: Array | float, beta: Array | float, epsilon: float) -> Array:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, sample by sample."""
    axes = tuple(range(1, x.ndim))
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def layer_norm_backward(x: Array, dy: Array, gamma: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta, through the moments of each sample as well."""
    axes = tuple(range(1, x.ndim))
    z, g = layer_norm(x, 1, 0, epsilon), gamma * dy
    centered = g - g.mean(axes, keepdims=True) - z * (g * z).mean(axes, keepdims=True)
    dx = centered / np.sqrt(x.var(axes, keepdims=True) + epsilon)
    return dx, (dy * z).sum(axis=0), dy.sum(axis=0)


def leaky_relu(x: Array, slope: float) -> Array:
    """x where positive, else slope * x; slope 0 is ReLU."""
    return np.where(x > 0, x, x.dtype.type(slope) * x)


def leaky_relu_backward(x: Array, dy: Array, slope: float) -> Array:
    """dy where x is positive, else slope * dy."""
    return np.where(x > 0, dy, x.dtype.type(slope) * dy)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return special.expit(x)


def sigmoid_backward(x: Array, dy: Array) -> Array:
    """dy * y * (1 - y)."""
    return dy * sigmoid(x) * sigmoid(-x)


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x)


def tanh_backward(x: Array, dy: Array) -> Array:
    """dy * (1 - y^2)."""
    return dy * (1 - np.tanh(x) ** 2)


def elu(x: Array, alpha: float) -> Array:
    """x where positive, else alpha * (e^x - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_backward(x: Array, dy: Array, alpha: float) -> Array:
    """dy where x is positive, else alpha * e^x * dy."""
    return dy * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


def softplus(x: Array) -> Array:
    """log(1 + e^x)."""
    return np.logaddexp(x, 0)


def softplus_backward(x: Array, dy: Array) -> Array:
    """dy / (1 + e^-x)."""
    return dy * sigmoid(x)


def arctan(x: Array) -> Array:
    """The arc tangent."""
    return np.arctan(x)


def arctan_backward(x: Array, dy: Array) -> Array:
    """dy / (1 + x^2)."""
    return dy / (1 + x**2)


def normal_distribution(x: Array) -> Array:
    """The cumulative normal distribution; its tail is computed from a square in extended precision."""
    bell = np.exp(-(np.asarray(x, np.longdouble) ** 2) / 2)
    tail = (bell * special.erfcx(np.abs(x) / np.sqrt(2)) / 2).astype(x.dtype)
    return np.where(x > 0, 1 - tail, tail)


def gelu(x: Array) -> Array:
    """x times the cumulative normal distribution at x."""
    return x * normal_distribution(x)


def gelu_backward(x: Array, dy: Array) -> Array:
    """dy * (distribution + x * density)."""
    return dy * (normal_distribution(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))


def relu6(x: Array) -> Array:
    """min(max(x, 0), 6)."""
    return np.clip(x, 0, 6)


def relu6_backward(x: Array, dy: Array) -> Array:
    """dy between 0 and 6."""
    return dy * ((x > 0) & (x < 6))


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def selu(x: Array) -> Array:
    """elu with a fixed alpha, times a fixed scale."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_backward(x: Array, dy: Array) -> Array:
    """The gradient through elu, times the scale."""
    return SELU_SCALE * elu_backward(x, dy, SELU_ALPHA)


def silu(x: Array) -> Array:
    """x / (1 + e^-x)."""
    return x * sigmoid(x)


def silu_backward(x: Array, dy: Array) -> Array:
    """dy * (p + x p (1 - p)) for p = sigmoid x."""
    return dy * (sigmoid(x) + x * sigmoid(x) * sigmoid(-x))


def mish(x: Array) -> Array:
    """x tanh(log(1 + e^x))."""
    return x * np.tanh(softplus(x))


def mish_backward(x: Array, dy: Array) -> Array:
    """dy * (t + x p (1 - t^2)) for t = tanh(softplus x), p = sigmoid x; 1 - t^2 = 1 / cosh^2."""
    return dy * (np.tanh(softplus(x)) + x * sigmoid(x) / np.cosh(softplus(x)) ** 2)


def hardswish(x: Array) -> Array:
    """x min(max(x + 3, 0), 6) / 6."""
    return x * np.clip(x + 3, 0, 6) / 6


def hardswish_backward(x: Array, dy: Array) -> Array:
    """dy * (2 x + 3) / 6 between -3 and 3, dy above, 0 below."""
    return dy * np.where(x <= -3, 0, np.where(x >= 3, 1, (2 * x + 3) / 6))


def softsign(x: Array) -> Array:
    """x / (1 + |x|)."""
    return x / (1 + np.abs(x))


def softsign_backward(x: Array, dy: Array) -> Array:
    """dy / (1 + |x|)^2."""
    return dy / (1 + np.abs(x)) ** 2


def log_softmax(x: Array) -> Array:
    """x - log(sum of e^x) over the channels."""
    return special.log_softmax(x, axis=1)


def log_softmax_backward(x: Array, dy: Array) -> Array:
    """dy - softmax * sum of dy."""
    return dy - softmax(x) * dy.sum(axis=1, keepdims=True)


def softmax(x: Array) -> Array:
    """e^x over its sum over the channels."""
    return special.softmax(x, axis=1)


def softmax_backward(x: Array, dy: Array) -> Array:
    """softmax * (dy - sum of dy * softmax)."""
    y = softmax(x)
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


def smooth_targets(target: Array, n_outputs: int, smoothing: float, middle: float) -> Array:
    """Targets for every output, from classes or as given, moved towards the middle."""
    t = np.eye(n_outputs)[target] if target.ndim == 1 else target.astype(float)
    return t * (1 - smoothing) + smoothing * middle


def cross_entropy(
    logits: Array, target: Array, sample_weight: Array, smoothing: float = 0.0
) -> tuple[Array, Array]:
    """The weighted mean of -log softmax at the targets, and its gradient."""
    t = smooth_targets(target, logits.shape[1], smoothing, 1 / logits.shape[1])
    weight = sample_weight / sample_weight.sum()
    return -(weight @ (t * log_softmax(logits)).sum(axis=1)), (softmax(logits) - t) * weight[:, None]


def binary_cross_entropy(z: Array, t: Array) -> tuple[Array, Array]:
    """-log sigmoid(z) for t = 1, -log sigmoid(-z) for t = 0; and its derivative."""
    return t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z), sigmoid(z) - t


def squared_error(z: Array, t: Array) -> tuple[Array, Array]:
    """The square of z - t, and its derivative."""
    return (z - t) ** 2, 2 * (z - t)


def absolute_error(z: Array, t: Array) -> tuple[Array, Array]:
    """The distance of z from t, and its derivative."""
    return np.abs(z - t), np.sign(z - t)


def huber(z: Array, t: Array) -> tuple[Array, Array]:
    """Half the square of z - t up to 1, a line beyond; and its derivative."""
    d = np.abs(z - t)
    return np.where(d <= 1, d**2 / 2, d - 0.5), np.clip(z - t, -1, 1)


def quantile(z: Array, t: Array, level: float = 0.5) -> tuple[Array, Array]:
    """level times t - z where t is above z, (1 - level) times z - t where it is below; and its derivative."""
    slope = np.where(z > t, 1 - level, np.where(z < t, -level, 0))
    return slope * (z - t), slope


def poisson(z: Array, t: Array) -> tuple[Array, Array]:
    """-log of Poisson's probability of t for the mean e^z, without log t!; and its derivative."""
    return np.exp(z) - t * z, np.exp(z) - t


def binary_focal(z: Array, t: Array, gamma: float = 2.0) -> tuple[Array, Array]:
    """-(1 - p)^gamma log p for t = 1, -p^gamma log(1 - p) for t = 0, with p = sigmoid(z); and its derivative."""
    p, q = sigmoid(z), sigmoid(-z)
    log_p, log_q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    slope = t * q**gamma * (gamma * p * log_p - q) - (1 - t) * p**gamma * (gamma * q * log_q - p)
    return -t * q**gamma * log_p - (1 - t) * p**gamma * log_q, slope


def focal(z: Array, t: Array, gamma: float = 2.0) -> tuple[Array, Array]:
    """The sum of -t (1 - p)^gamma log p with p = softmax(z), of every sample, and its gradient."""
    p, log_p = softmax(z), log_softmax(z)
    rest = np.maximum(-np.expm1(log_p), 1e-300)  # 1 - p
    a = t * (gamma * p * log_p * rest ** (gamma - 1) - rest**gamma)
    return -(t * rest**gamma * log_p).sum(axis=1), a - p * a.sum(axis=1, keepdims=True)


def cosine(z: Array, t: Array) -> tuple[Array, Array]:
    """1 minus the cosine of the angle between z and t, of every sample, and its gradient."""
    length = np.linalg.norm(z, axis=1, keepdims=True)
    z, t = z / length, t / np.linalg.norm(t, axis=1, keepdims=True)
    cosines = (z * t).sum(axis=1, keepdims=True)
    return 1 - cosines[:, 0], (cosines * z - t) / length


def mean_loss(
    loss: Callable[..., Any], outputs: Array, target: Array, sample_weight: Array, smoothing: float = 0.0
) -> tuple[Array, Array]:
    """The weighted mean over samples of the mean over outputs of one of these, and its gradient.

    A loss that is one value for all outputs has no mean over them. Targets that are nan are left out of the mean.
    """
    middle = 0.5 if loss in (binary_cross_entropy, binary_focal) else 1 / outputs.shape[1]
    t = smooth_targets(target, outputs.shape[1], smoothing, middle)
    losses, derivatives = loss(outputs, t)
    weight = sample_weight / sample_weight.sum()
    if losses.ndim == 1:
        return weight @ losses, derivatives * weight[:, None]
    part = ~np.isnan(t) / np.maximum((~np.isnan(t)).sum(axis=1, keepdims=True), 1) * weight[:, None]
    return np.nansum(losses * part), np.where(np.isnan(t), 0, derivatives) * part


def mixup(x: Array, lam: float | Array, partner_offset: int) -> Array:
    """lam times each sample plus (1 - lam) times its partner, the one at this offset after it."""
    return lam * x + (1 - lam) * np.roll(x, -partner_offset, axis=0)


def sgd(
    params: Array, gradient: Array, velocity: Array, rate: float, momentum: float, nesterov: bool
) -> tuple[Array, Array]:
    """The next parameters and velocity."""
    velocity = momentum * velocity + gradient
    step = gradient + momentum * velocity if nesterov else velocity
    return params - rate * step, velocity


def adam(
    params: Array,
    gradient: Array,
    moments: tuple[Array, Array],
    rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    t: int,
) -> tuple[Array, Array, Array]:
    """The next parameters, mean and mean square (Kingma and Ba 2015, algorithm 1)."""
    mean, square = moments
    mean = beta_1 * mean + (1 - beta_1) * gradient
    square = beta_2 * square + (1 - beta_2) * gradient**2
    step = mean / (1 - beta_1**t) / (np.sqrt(square / (1 - beta_2**t)) + epsilon)
    return params - rate * step, mean, square


def adagrad(
    params: Array,
    gradient: Array,
    velocity: Array,
    total: Array,
    rate: float,
    momentum: float,
    epsilon: float,
) -> tuple[Array, Array, Array]:
    """The next parameters, velocity and sum of squares (Duchi, Hazan and Singer 2011)."""
    total = total + gradient**2
    velocity = momentum * velocity + gradient / (np.sqrt(total) + epsilon)
    return params - rate * velocity, velocity, total


def rmsprop(
    params: Array,
    gradient: Array,
    velocity: Array,
    square: Array,
    rate: float,
    rho: float,
    momentum: float,
    epsilon: float,
) -> tuple[Array, Array, Array]:
    """The next parameters, velocity and mean square (Tieleman and Hinton 2012)."""
    square = rho * square + (1 - rho) * gradient**2
    velocity = momentum * velocity + gradient / (np.sqrt(square) + epsilon)
    return params - rate * velocity, velocity, square


def adadelta(
    params: Array, gradient: Array, moves: Array, square: Array, rate: float, rho: float, epsilon: float
) -> tuple[Array, Array, Array]:
    """The next parameters, mean squares of moves and of gradients (Zeiler 2012, algorithm 1)."""
    square = rho * square + (1 - rho) * gradient**2
    move = np.sqrt(moves + epsilon) / np.sqrt(square + epsilon) * gradient
    return params - rate * move, rho * moves + (1 - rho) * move**2, square


def lion(
    params: Array, gradient: Array, mean: Array, rate: float, beta_1: float, beta_2: float
) -> tuple[Array, Array]:
    """The next parameters and mean (Chen et al. 2023, program 1)."""
    direction = np.sign(beta_1 * mean + (1 - beta_1) * gradient)
    return params - rate * direction, beta_2 * mean + (1 - beta_2) * gradient


def muon(
    weight: Array,
    gradient: Array,
    velocity: Array,
    rate: float,
    momentum: float,
    nesterov: bool,
    iterations: int,
    normalize: bool,
) -> tuple[Array, Array]:
    """The next weight and velocity (Jordan et al. 2024; the factor 0.2 of Liu et al. 2025, equation 4)."""
    velocity = momentum * velocity + gradient
    u = (gradient + momentum * velocity if nesterov else velocity).reshape(len(gradient), -1)
    x = u / (np.sqrt((u**2).sum()) + 1e-7)
    x = x if x.shape[0] <= x.shape[1] else x.T
    for _ in range(iterations):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    x = x if x.shape == u.shape else x.T
    if normalize:
        weight = weight * np.sqrt(len(weight)) / np.sqrt((weight**2).sum())
    return weight - rate * 0.2 * np.sqrt(max(u.shape)) * x.reshape(weight.shape), velocity


def clip(gradient: Array, norm: float) -> Array:
    """The gradient, with at most this norm (Pascanu, Mikolov and Bengio 2013)."""
    length = np.sqrt((gradient**2).sum())
    return gradient * norm / length if length > norm else gradient


def mix_bits(x: Array) -> Array:
    """The hash of noise.h, on uint32."""
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


def draw_bits(key: int, stream: int, elements: Any, n: int) -> Array:
    """Random bits that n samples draw in a stream, (n, elements); key: the step's."""
    low, high = (np.array([half], np.uint32) for half in (key & 0xFFFFFFFF, key >> 32))
    low = mix_bits(low + np.uint32(stream) * np.array([0x9E3779B9], np.uint32))
    high = mix_bits(high ^ low)
    elements, samples = np.asarray(elements, np.uint32), np.arange(n, dtype=np.uint32)
    return mix_bits(mix_bits(low ^ elements) + (high ^ samples[:, None]))


def draw_below(key: int, stream: int, element: int, n: int, choices: int) -> Array:
    """An integer from 0 to choices - 1 for each of n samples."""
    return (draw_bits(key, stream, [element], n)[:, 0].astype(np.int64) * choices) >> 32


def draw_uniform(key: int, stream: int, elements: Any, n: int) -> Array:
    """Uniform values between 0 and 1, (n, elements)."""
    return (draw_bits(key, stream, elements, n) + 0.5) / 2**32


def dropout_mask(key: int, stream: int, n: int, size: int, rate: float) -> Array:
    """The factors of the values of n samples in a dropout layer; stream: the layer's, key: the step's."""
    drawn = draw_bits(key, stream, np.arange(size), n)
    return np.where(drawn < rate * 2**32, 0, 1 / (1 - rate))


def gaussian_noise(key: int, stream: int, n: int, size: int) -> Array:
    """Noise for the values of n samples, of standard deviation 1 (Box and Muller 1958)."""
    u = draw_uniform(key, stream, 2 * np.arange(size), n)
    v = draw_bits(key, stream, 2 * np.arange(size) + 1, n).astype(np.int32) / 2**32
    return np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)


def random_flip(x: Array, key: int, stream: int, horizontal: bool, vertical: bool) -> Array:
    """Every sample with its rows and columns reversed if it draws 1."""
    y = x.copy()
    for element, enabled in enumerate((vertical, horizontal)):
        for n in np.flatnonzero(draw_below(key, stream, element, len(x), 1 + enabled)):
            y[n] = np.flip(y[n], 1 + element)
    return y


def random_window(
    x: Array, key: int, stream: int, size: Pair, tops: Sequence[int], lefts: Sequence[int], mode: str = "edge"
) -> Array:
    """A window of each sample, which begins at random among tops and lefts; beyond it, numpy.pad's mode."""
    limit = {
        "edge": lambda i, last: np.clip(i, 0, last),
        "reflect": lambda i, last: last - np.abs(last - np.abs(i)),
    }[mode]
    top = tops[0] + draw_below(key, stream, 2, len(x), len(tops))
    left = lefts[0] + draw_below(key, stream, 3, len(x), len(lefts))
    rows, columns = (
        limit(start[:, None] + np.arange(n_out), n_in - 1)
        for start, n_out, n_in in zip((top, left), size, x.shape[2:])
    )
    return np.stack([image[:, i][:, :, j] for image, i, j in zip(x, rows, columns)])


def random_rotation(x: Array, key: int, stream: int, degrees: float) -> Array:
    """Each sample rotated about its centre, bilinearly interpolated; the border is repeated."""
    angle = np.radians(degrees) * (2 * draw_uniform(key, stream, [4], len(x))[:, 0] - 1)
    middle = np.subtract(x.shape[2:], 1) / 2
    i, j = np.indices(x.shape[2:]) - middle[:, None, None]
    y = np.empty_like(x)
    for n, a in enumerate(angle):
        points = np.cos(a) * i - np.sin(a) * j + middle[0], np.sin(a) * i + np.cos(a) * j + middle[1]
        for c, channel in enumerate(x[n]):
            y[n, c] = map_coordinates(channel, points, order=1, mode="nearest")
    return y


def erasing_mask(
    key: int, stream: int, n: int, shape: Pair, size: tuple[float, float], aspect: float, probability: float
) -> Array:
    """Masks of n samples of that (height, width), 0 in a rectangle and 1 elsewhere (Zhong et al. 2020)."""
    chance, area, stretch = draw_uniform(key, stream, [0, 1, 2], n).T
    area = (size[0] + (size[1] - size[0]) * area) * np.prod(shape)
    stretch = np.exp(np.log(aspect) * (2 * stretch - 1))
    mask = np.ones((n, *shape))
    for k in np.flatnonzero(chance < probability):
        sides = np.sqrt((area[k] * stretch[k], area[k] / stretch[k]))
        sides = np.clip(np.floor(sides + 0.5).astype(int), 1, shape)
        top, left = (
            draw_below(key, stream, 3 + axis, n, shape[axis] - sides[axis] + 1)[k] for axis in (0, 1)
        )
        mask[k, top : top + sides[0], left : left + sides[1]] = 0
    return mask
