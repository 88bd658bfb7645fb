"""Layers of random shapes and settings in float32 against PyTorch in float64: outputs and all gradients.

u = 2^-24 is the largest relative error of one rounding. The allowed error is 16 u times a scale. For sums of
products, the scale of an output is the sum of the absolute values of its terms; the other tests define their
own.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from torch_reference import run_torch, torch

from skconvnet._network import Network
from skconvnet.layers import (
    ELU,
    GELU,
    SELU,
    Arctan,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    Hardswish,
    LayerNorm,
    LeakyReLU,
    LocallyConnected1D,
    LocallyConnected2D,
    LogSoftmax,
    MaxPool1D,
    MaxPool2D,
    Mish,
    Parallel,
    PReLU,
    ReLU,
    ReLU6,
    Rescaling,
    Residual,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
    UpSample2D,
    ZeroPad2D,
)

U = 2.0**-24
SIXTY = settings(max_examples=60, derandomize=True, database=None, deadline=None)

sizes = st.integers(1, 9)
kernels = st.tuples(st.integers(1, 4), st.integers(1, 4))
strides = st.tuples(st.integers(1, 3), st.integers(1, 3))
sides = st.tuples(st.integers(0, 2), st.integers(0, 2))
paddings = st.one_of(st.sampled_from(["valid", "same"]), st.integers(0, 2), sides, st.tuples(sides, sides))
counts, seeds = st.integers(1, 40), st.integers(0, 2**16)
sixteenths = st.integers(-99, 99).map(lambda k: k / 16)  # float32 has them exactly


def draw_size(draw, kernel):
    """A size that is at least that of the kernel, so that there is an output."""
    return kernel + draw(st.integers(0, 6))


@st.composite
def convolutions(draw):
    """A convolution and an input shape that it takes."""
    kernel, dilation = draw(kernels), draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    layer = Conv2D(
        groups * draw(sizes),
        kernel,
        stride=draw(strides),
        padding=draw(paddings),
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
    )
    image = (draw_size(draw, (k - 1) * d + 1) for k, d in zip(kernel, dilation))
    return layer, (groups * draw(sizes), *image)


@st.composite
def transposed_convolutions(draw):
    """A transposed convolution and an input shape that it takes."""
    kernel, stride, dilation = (
        draw(kernels),
        draw(strides),
        draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
    )
    padding, groups = draw(paddings), draw(st.sampled_from([1, 1, 2, 3]))
    extra = tuple(draw(st.integers(0, max(pair) - 1)) for pair in zip(stride, dilation))
    layer = Conv2DTranspose(
        groups * draw(sizes),
        kernel,
        stride=stride,
        padding=padding,
        output_padding=0 if padding == "same" else extra,
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
    )
    return layer, (groups * draw(sizes), draw(st.integers(5, 9)), draw(st.integers(5, 9)))


@st.composite
def upsamplings(draw):
    """An upsampling and an input shape that it takes."""
    size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    interpolation = draw(st.sampled_from(["nearest", "bilinear"]))
    return UpSample2D(size, interpolation), draw(st.tuples(sizes, sizes, sizes))


@st.composite
def transformed_convolutions(draw):
    """A convolution that uses Winograd's algorithm, and its input shape."""
    along, down = draw(st.sampled_from([3, 5])), draw(st.booleans())
    across = draw(st.integers(1, 3)) if down else 1
    sides = [draw(st.integers(0, along // 2)) for _ in range(2)]
    other = [draw(st.integers(0, 1)) if down else 0, 0]
    sizes = [draw(st.integers(8, 17)) + along - 1 - sum(sides), across + draw(st.integers(0, 14))]
    axes = (along, across), (sides, other), sizes
    kernel, padding, size = (tuple(axis if down else axis[::-1]) for axis in axes)
    layer = Conv2D(draw(st.integers(8, 20)), kernel, padding=padding, bias=draw(st.booleans()))
    return layer, (-(-48 // across) + draw(st.integers(0, 8)), *size)


@st.composite
def nested_convolutions(draw):
    """A convolution of which Winograd's algorithm transforms both axes, and its input shape."""
    k = draw(st.sampled_from([3, 5]))
    sides = [[draw(st.integers(0, k // 2)) for _ in range(2)] for _ in range(2)]
    size = (draw(st.integers(5, 9)) * 2 + k - 1 - sum(side) for side in sides)
    filters, bias = draw(st.integers(40, 50)), draw(st.booleans())
    layer = Conv2D(filters, k, padding=tuple(map(tuple, sides)), bias=bias)
    return layer, (draw(st.integers(40, 50)), *size)


@st.composite
def local_convolutions(draw):
    """A convolution whose weights are not shared, and an input shape that it takes."""
    kernel = draw(kernels)
    options = {"stride": draw(strides), "padding": draw(paddings), "bias": draw(st.booleans())}
    layer = LocallyConnected2D(draw(sizes), kernel, **options)
    return layer, (draw(sizes), *(draw_size(draw, k) for k in kernel))


signal_paddings = st.one_of(st.sampled_from(["valid", "same", "causal"]), st.integers(0, 2), sides)


@st.composite
def signal_convolutions(draw):
    """A convolution of signals, and an input shape that it takes."""
    kernel, dilation, groups = (
        draw(st.integers(1, 5)),
        draw(st.integers(1, 3)),
        draw(st.sampled_from([1, 1, 2])),
    )
    options = {
        "stride": draw(st.integers(1, 3)),
        "padding": draw(signal_paddings),
        "bias": draw(st.booleans()),
    }
    if draw(st.booleans()):
        layer, span = LocallyConnected1D(draw(sizes), kernel, **options), kernel
    else:
        span = (kernel - 1) * dilation + 1
        layer = Conv1D(groups * draw(sizes), kernel, dilation=dilation, groups=groups, **options)
    return layer, (groups * draw(sizes), 1, draw_size(draw, span))


def signal_poolings(kind):
    @st.composite
    def draw_pooling(draw):
        size = draw(st.integers(2, 4))
        side = st.integers(0, size - 1)
        words = st.sampled_from(["valid", "same", "causal"])
        padding = draw(st.one_of(words, side, st.tuples(side, side)))
        layer = kind(size, stride=draw(st.one_of(st.none(), st.integers(1, 3))), padding=padding)
        return layer, (draw(sizes), 1, draw_size(draw, size))

    return draw_pooling()


def poolings(kind):
    @st.composite
    def draw_pooling(draw):
        size = draw(st.tuples(st.integers(2, 4), st.integers(2, 4)))
        least = min(size) - 1  # every window has a pixel
        side = st.integers(0, least)
        padding = draw(st.one_of(st.sampled_from(["valid", "same"]), side, st.tuples(side, side)))
        layer = kind(size, stride=draw(st.one_of(st.none(), strides)), padding=padding)
        return layer, (draw(sizes), *(draw_size(draw, k) for k in size))

    return draw_pooling()


@st.composite
def images_or_vectors(draw):
    shape = draw(st.tuples(sizes, sizes, sizes))
    return shape if draw(st.booleans()) else shape[:1]


@st.composite
def residuals(draw):
    """A residual connection of sums of products, and its input shape."""
    channels, filters = draw(sizes), draw(sizes)
    first = Conv2D(filters, draw(kernels), stride=draw(strides), padding="same")
    branch = draw(st.sampled_from([[first], [first, Conv2D(channels, 1, padding="same")]]))
    return Residual(branch), (channels, 6, draw(st.sampled_from([6, 8])))


@st.composite
def parallels(draw):
    """Branches of sums of products, some of them within others, and their input shape."""
    channels, filters, size, stride = draw(sizes), draw(sizes), draw(st.tuples(sizes, sizes)), draw(strides)
    merge = draw(st.sampled_from(["concat", "add", "multiply", "average"]))

    def draw_branch(depth):
        pool = AvgPool2D(3, stride=stride, padding="same")
        branches = [
            [Conv2D(filters, draw(kernels), stride=stride, padding="same")],
            [pool, Conv2D(filters, 1, bias=draw(st.booleans()))],
        ]
        if merge == "multiply" and depth == 0:
            branches.append([GlobalAvgPool2D(), Dense(filters)])
        if stride == (1, 1) and filters == channels:
            branches.append([])
        if depth < 2:
            inner = [draw_branch(depth + 1) for _ in range(draw(st.integers(1, 3)))]
            branches.append([Parallel(inner, draw(st.sampled_from(["add", "average"])))])
        return draw(st.sampled_from(branches))

    return Parallel([draw_branch(0) for _ in range(draw(st.integers(1, 4)))], merge), (channels, *size)


@st.composite
def maxima(draw):
    """Branches of which the maximum is taken, without rounding, and their input shape."""
    options = {"stride": 1, "padding": "same"}
    branches = [
        [],
        [Rescaling(0.5)],
        [Rescaling(4)],
        [MaxPool2D(3, **options)],
        [Rescaling(2), MaxPool2D((1, 3), **options)],
    ]
    chosen = draw(st.permutations(branches))[: draw(st.integers(1, 5))]
    return Parallel(chosen, "max"), draw(st.tuples(sizes, sizes, sizes))


def prepare(layer, shape, n, seed, *following):
    """A network of random parameters, images, and gradients to its outputs, in float32."""
    network = Network([layer, *following], shape, None, np.float32)
    rng = np.random.RandomState(seed)
    network.initialize(rng)
    for key, part in network.split(network.params).items():
        drawn = rng.standard_normal(part.shape)
        part[...] = np.abs(drawn) + 0.1 if key.endswith("running_var") else drawn
    X, dy = rng.standard_normal((n, *shape)), rng.standard_normal((n, *network.output_shape))
    return network, X.astype(np.float32), dy.astype(np.float32)


def run_ours(network, X, dy):
    """Outputs in prediction, dx, and the gradient to every parameter."""
    dx, dparams = network.backward(X, dy, n_threads=2)
    y = network.forward(X).reshape(dy.shape)
    return {"y": y, "dx": dx, **network.split(dparams)}


def run_theirs(network, X, dy, training=True, see=lambda array: array):
    """The same by PyTorch in float64; `see` is applied to every array first."""
    x = torch.tensor(see(X.astype(np.float64)), requires_grad=True)
    parameters = {
        key: torch.tensor(see(value.astype(np.float64)), requires_grad=".running" not in key)
        for key, value in network.weights.items()
    }
    y = run_torch(network, parameters, x, training)
    y.backward(torch.tensor(see(dy.astype(np.float64))))
    gradients = {key: p.grad.numpy() for key, p in parameters.items() if p.requires_grad}
    return {"y": y.detach().numpy(), "dx": x.grad.numpy(), **gradients}


def check(ours, theirs, scales):
    """Every element within 16 u of its scale."""
    assert ours.keys() == theirs.keys() == scales.keys()
    for name, result in ours.items():
        assert result.dtype == np.float32 and result.shape == theirs[name].shape, name
        assert (np.abs(result - theirs[name]) <= 16 * U * scales[name]).all(), name


def check_sums(layer, shape, n, seed, positive=None):
    """Check a layer of sums of products, nested ones too: scales are the same sums of absolute values."""
    network, X, dy = prepare(layer, shape, n, seed)
    sized = Network([positive or layer], shape)
    sized.params = network.params
    scales = run_theirs(sized, X, dy, see=np.abs)
    check(run_ours(network, X, dy), run_theirs(network, X, dy), scales)


@SIXTY
@given(convolutions(), counts, seeds)
def test_conv2d(case, n, seed):
    check_sums(*case, n, seed)


@SIXTY
@given(transformed_convolutions(), counts, seeds)
def test_conv2d_by_winograd(case, n, seed):
    layer, shape = case
    network, X, dy = prepare(layer, shape, n, seed)
    assert network.compile().sizes["n_transformed_weights"] > 0
    check(run_ours(network, X, dy), run_theirs(network, X, dy), run_theirs(network, X, dy, see=np.abs))


@SIXTY
@given(nested_convolutions(), counts, seeds)
def test_conv2d_by_nested_winograd(case, n, seed):
    layer, shape = case
    network, X, dy = prepare(layer, shape, n, seed)
    n_terms = 6 * (layer.kernel_size + 1)
    assert network.compile().sizes["n_transformed_weights"] >= n_terms * layer.filters * shape[0]
    check(run_ours(network, X, dy), run_theirs(network, X, dy), run_theirs(network, X, dy, see=np.abs))


@SIXTY
@given(local_convolutions(), counts, seeds)
def test_local_conv2d(case, n, seed):
    check_sums(*case, n, seed)


@SIXTY
@given(signal_convolutions(), counts, seeds)
def test_convolutions_of_signals(case, n, seed):
    check_sums(*case, n, seed)


@SIXTY
@given(images_or_vectors(), st.integers(1, 50), st.booleans(), counts, seeds)
def test_dense(shape, units, bias, n, seed):
    check_sums(Dense(units, bias=bias), shape, n, seed)


@SIXTY
@given(transposed_convolutions(), counts, seeds)
def test_transposed_convolution(case, n, seed):
    check_sums(*case, n, seed)


@SIXTY
@given(upsamplings(), counts, seeds)
def test_upsampling(case, n, seed):
    check_sums(*case, n, seed)


@SIXTY
@given(images_or_vectors(), counts, seeds)
def test_prelu(shape, n, seed):
    # dweight is a sum of products, whose scale is that of a layer that multiplies every element
    network, X, dy = prepare(PReLU(), shape, n, seed)
    ours, theirs = run_ours(network, X, dy), run_theirs(network, X, dy)
    axes = (0, 2, 3)[: X.ndim - 1]
    check(
        ours,
        theirs,
        {"y": np.abs(theirs["y"]), "dx": np.abs(theirs["dx"]), "0.weight": np.abs(X * dy).sum(axes)},
    )


@SIXTY
@given(residuals(), counts, seeds)
def test_residual(case, n, seed):
    check_sums(*case, n, seed)


@SIXTY
@given(parallels(), counts, seeds)
def test_parallel(case, n, seed):
    check_sums(*case, n, seed)


@SIXTY
@given(maxima(), counts, seeds)
def test_parallel_maximum(case, n, seed):
    # all branches are exact
    network, X, dy = prepare(*case, n, seed)
    ours, theirs = run_ours(network, X, dy), run_theirs(network, X, dy)
    check(ours, theirs, {"y": 0, "dx": run_theirs(network, X, np.abs(dy))["dx"]})


@SIXTY
@given(poolings(AvgPool2D), counts, seeds)
def test_avg_pool2d(case, n, seed):
    check_sums(*case, n, seed)


@SIXTY
@given(signal_poolings(AvgPool1D), counts, seeds)
def test_avg_pool1d(case, n, seed):
    check_sums(*case, n, seed)


@SIXTY
@given(st.one_of(poolings(MaxPool2D), signal_poolings(MaxPool1D)), counts, seeds)
def test_max_pool(case, n, seed):
    # the outputs are elements of the input; dx adds up elements of dy, and its scale their absolute values
    network, X, dy = prepare(*case, n, seed)
    ours, theirs = run_ours(network, X, dy), run_theirs(network, X, dy)
    check(ours, theirs, {"y": 0, "dx": run_theirs(network, X, np.abs(dy))["dx"]})


@SIXTY
@given(
    st.sampled_from([GlobalAvgPool2D(), GlobalMaxPool2D(), Flatten()]),
    st.tuples(sizes, sizes, sizes),
    counts,
    seeds,
)
def test_global_pooling(layer, shape, n, seed):
    check_sums(layer, shape, n, seed)


@SIXTY
@given(
    st.sampled_from([GlobalAvgPool1D(), GlobalMaxPool1D()]),
    st.tuples(sizes, st.just(1), sizes),
    counts,
    seeds,
)
def test_global_pooling_of_signals(layer, shape, n, seed):
    check_sums(layer, shape, n, seed)


@SIXTY
@given(st.tuples(sizes, sizes, sizes), paddings.filter(lambda p: not isinstance(p, str)), counts, seeds)
def test_zero_padding(shape, padding, n, seed):
    network, X, dy = prepare(ZeroPad2D(padding), shape, n, seed)
    check(run_ours(network, X, dy), run_theirs(network, X, dy), {"y": 0, "dx": 0})  # nothing is rounded


@SIXTY
@given(images_or_vectors(), sixteenths, sixteenths, counts, seeds)
def test_rescaling(shape, scale, offset, n, seed):
    layer = Rescaling(scale, offset)
    check_sums(layer, shape, n, seed, positive=Rescaling(abs(scale), abs(offset)))


def scale_normalization(x, dy, gamma, beta, epsilon, axes, parameter_axes):
    """The scales of a normalisation over axes; parameter_axes: the axes that dgamma and dbeta sum over.

    To first order, each in units of u: the mean errs by the mean size m of x, so x - mean by |x| + m; the
    deviation, relatively, by 1 + r for r = root mean square / deviation; hence z by
    Z = (|x| + m) / deviation + |z| (1 + r). y = gamma z + beta and, with g = gamma dy,
    dx = (g - mean g - z mean(g z)) / deviation hand these errors on, term by term.
    """

    def mean(a):
        return a.mean(axes, keepdims=True)

    size, deviation = np.abs(x), np.sqrt(x.var(axes, keepdims=True) + epsilon)
    z = np.abs(x - mean(x)) / deviation
    r = 1 + np.sqrt(mean(x**2)) / deviation
    Z = (size + mean(size)) / deviation + z * r
    g = np.abs(gamma * dy)
    dx = r * (g + mean(g) + z * mean(g * z)) + Z * mean(g * z) + z * mean(g * Z)
    return {
        "y": np.abs(gamma) * Z + np.abs(beta),
        "dx": dx / deviation,
        "0.weight": (np.abs(dy) * (Z + z)).sum(parameter_axes),
        "0.bias": np.abs(dy).sum(parameter_axes),
    }


def get_affine(network, shape):
    """Gamma and beta in float64, one value per channel or per element."""
    return (
        network.weights[key].astype(np.float64).reshape(shape) if key in network.weights else value
        for key, value in (("0.weight", 1.0), ("0.bias", 0.0))
    )


flags = st.booleans()


@SIXTY
@given(images_or_vectors(), flags, flags, st.sampled_from([1e-5, 0.1]), st.integers(2, 40), seeds)
def test_batch_norm(shape, scale, center, epsilon, n, seed):
    layer = BatchNorm(scale=scale, center=center, epsilon=epsilon)
    network, X, dy = prepare(layer, shape, n, seed)
    wide, wide_dy = X.astype(np.float64), dy.astype(np.float64)
    per_channel = (-1, *[1] * (len(shape) - 1))
    gamma, beta = get_affine(network, per_channel)
    axes = (0, *range(2, X.ndim))
    scales = scale_normalization(wide, wide_dy, gamma, beta, epsilon, axes, axes)
    # prediction: y = (x - mean) * (gamma / deviation) + beta of given moments
    mean, variance = (network.weights[f"0.running_{k}"].reshape(per_channel) for k in ("mean", "var"))
    size = (np.abs(wide) + np.abs(mean)) / np.sqrt(variance + epsilon)
    scales["y"] = np.abs(gamma) * size + np.abs(beta)
    ours, theirs = run_ours(network, X, dy), run_theirs(network, X, dy)
    theirs["y"] = run_theirs(network, X, dy, training=False)["y"]
    check(ours, theirs, {key: scales[key] for key in ours})


@SIXTY
@given(images_or_vectors(), flags, flags, st.sampled_from([1e-5, 0.1]), counts, seeds)
def test_layer_norm(shape, scale, center, epsilon, n, seed):
    layer = LayerNorm(scale=scale, center=center, epsilon=epsilon)
    network, X, dy = prepare(layer, shape, n, seed)
    gamma, beta = get_affine(network, shape)
    wide, wide_dy = X.astype(np.float64), dy.astype(np.float64)
    scales = scale_normalization(wide, wide_dy, gamma, beta, epsilon, tuple(range(1, X.ndim)), 0)
    ours = run_ours(network, X, dy)
    check(ours, run_theirs(network, X, dy), {key: scales[key] for key in ours})


@pytest.mark.parametrize(
    "kind",
    [
        ReLU,
        ReLU6,
        LeakyReLU,
        ELU,
        SELU,
        GELU,
        SiLU,
        Mish,
        Hardswish,
        Sigmoid,
        Tanh,
        Softplus,
        Softsign,
        Arctan,
    ],
    ids=str,
)
@SIXTY
@given(images_or_vectors(), st.integers(1, 64).map(lambda k: k / 16), counts, seeds)
def test_activations(kind, shape, slope, n, seed):
    # y is exact up to a few roundings. The derivative is computed from y near 0, 1 or -1, or from an
    # exponential of at most 1: its error is u times the largest derivative
    layer = kind(slope) if dataclasses.fields(kind)[1:] else kind()
    network, X, dy = prepare(layer, shape, n, seed)
    theirs = run_theirs(network, X, dy)
    largest = max(slope, 1) if kind in (LeakyReLU, ELU) else 2
    check(run_ours(network, X, dy), theirs, {"y": np.abs(theirs["y"]), "dx": np.abs(dy) * largest})


@pytest.mark.parametrize("kind", [Softmax, LogSoftmax], ids=str)
@SIXTY
@given(images_or_vectors(), counts, seeds)
def test_softmax(kind, shape, n, seed):
    # d = max x - x errs by u d, so e^-d and every probability p relatively by 1 + the largest d; what is
    # subtracted from dy, p sum dy or sum(dy p), by as much more
    network, X, dy = prepare(kind(), shape, n, seed)
    d = (X.max(axis=1, keepdims=True) - X).astype(np.float64)
    p = softmax(-d, axis=1)
    steep, size = 1 + d.max(axis=1, keepdims=True), np.abs(dy)
    if kind is Softmax:
        scales = {"y": p * steep, "dx": p * steep * (size + (size * p).sum(axis=1, keepdims=True))}
    else:
        scales = {"y": steep + d, "dx": size + p * steep * size.sum(axis=1, keepdims=True)}
    check(run_ours(network, X, dy), run_theirs(network, X, dy), scales)
