"""Every kernel against its reference implementation: shapes, dtypes, instruction sets, threads."""

import dataclasses

import numpy as np
import pytest
import reference

from skconvnet import functional
from skconvnet._losses import CROSS_ENTROPY, Loss
from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet.layers import (
    ELU,
    GELU,
    Arctan,
    Conv2D,
    Dense,
    LayerNorm,
    LeakyReLU,
    LocallyConnected2D,
    LogSoftmax,
    ReLU,
    Rescaling,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
    ZeroPad2D,
)
from skconvnet.layers.window import pad_image, slide
from skconvnet.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, RMSprop

# n, channels, height, width, filters, kernel, stride, dilation, padding
CONVOLUTIONS = [
    (1, 1, 1, 1, 1, 1, 1, 1, "valid"),
    (17, 1, 1, 1, 3, 3, 1, 1, "same"),
    (3, 1, 5, 5, 1, 5, 1, 1, "valid"),
    (17, 17, 6, 6, 17, 6, 1, 1, "valid"),
    (2, 4, 7, 9, 5, (7, 9), 1, 1, 1),
    (5, 17, 6, 5, 13, 3, 1, 1, "same"),
    (4, 3, 9, 7, 6, (2, 4), (2, 3), 1, ((0, 1), (3, 2))),
    (4, 2, 11, 11, 4, 2, 3, 1, "valid"),
    (3, 2, 10, 9, 3, 1, 4, 1, "same"),
    (16, 6, 14, 14, 16, 5, 1, 1, "valid"),
    (33, 1, 32, 32, 6, 5, 1, 1, "valid"),
    (2, 3, 8, 31, 7, (3, 5), (1, 2), 1, "same"),
    (2, 3, 31, 8, 12, (5, 3), (2, 1), 1, (2, 1)),
    (2, 2, 12, 13, 5, 3, 1, 2, "same"),
    (2, 2, 12, 13, 5, (3, 2), (2, 3), (3, 2), 2),
    (2, 3, 4, 4, 2, 3, 1, 1, 5),
    (1, 5, 1, 20, 9, (1, 4), 1, 1, "valid"),
]

# n, channels, height, width, window, stride, padding
POOLINGS = [
    (1, 1, 1, 1, 1, 1, "valid"),
    (17, 3, 6, 6, 2, 2, "valid"),
    (3, 17, 7, 5, 2, 2, "valid"),
    (4, 2, 9, 9, 3, 2, "valid"),
    (4, 2, 9, 8, 3, 1, "same"),
    (2, 3, 8, 8, (3, 2), (1, 3), ((1, 2), (0, 1))),
    (2, 1, 10, 10, 2, 5, "valid"),
    (2, 4, 5, 6, (5, 6), 1, "valid"),
    (2, 2, 7, 11, 4, 3, "same"),
]


def draw(rng, shape, dtype, integers):
    """Return random values: small integers, whose sums are exact, or normal ones."""
    if integers:
        return rng.integers(-3, 4, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


# convolutions, in the same form, that training computes by Winograd
WINOGRAD_CONVOLUTIONS = [
    (17, 16, 8, 8, 24, 3, 1, 1, "same"),
    (5, 16, 5, 10, 9, 3, 1, 1, "valid"),
    (3, 10, 9, 10, 17, 5, 1, 1, "same"),
    (20, 24, 9, 32, 10, (2, 5), (2, 1), 1, ((1, 0), (2, 2))),
    (9, 24, 9, 4, 12, (3, 3), 1, (3, 1), "same"),
    (2, 50, 1, 53, 40, (1, 3), 1, 1, ((0, 0), (0, 1))),
    (18, 32, 16, 16, 32, 5, 1, 1, 2),
]


def check(results, expected, scales, dtype, integers):
    """Check that results of integers are exact, and others within 16 units of eps / 2 * sum |a b|."""
    assert len(results) == len(expected)
    for result, exact, scale in zip(results, expected, scales):
        assert result.dtype == dtype and result.shape == exact.shape
        if integers:
            np.testing.assert_array_equal(result, exact)
        else:
            assert (np.abs(result - exact) <= 16 * np.finfo(dtype).eps / 2 * scale + 1e-300).all()


def as_pair(value):
    return value if isinstance(value, tuple) else (value, value)


def compare_conv2d(dtype, case, connected, integers):
    """Check functions on plain arrays against their reference implementations, forward and backward."""
    n, channels, height, width, filters, kernel, stride, dilation, padding = case
    rng = np.random.default_rng(0)
    kernel, stride, dilation = as_pair(kernel), as_pair(stride), as_pair(dilation)
    table = rng.random((filters, channels)) < 0.6 if connected else None
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    sides = pad_image((channels, height, width), span, stride, padding)
    size = slide((channels, height, width), span, stride, padding, "")
    x = draw(rng, (n, channels, height, width), dtype, integers)
    weight = draw(rng, (filters, channels, *kernel), dtype, integers)
    bias = draw(rng, filters, dtype, integers)
    dy = draw(rng, (n, filters, *size), dtype, integers)
    mask = np.ones((filters, channels), bool) if table is None else table
    wide = [a.astype(np.float64) for a in (x, weight, bias, dy)]
    geometry = stride, dilation, sides, mask
    expected = [
        reference.conv2d(*wide[:3], *geometry),
        *reference.conv2d_backward(wide[0], wide[1], wide[3], *geometry),
    ]
    sizes = [np.abs(a) for a in wide]
    scales = [
        reference.conv2d(*sizes[:3], *geometry),
        *reference.conv2d_backward(sizes[0], sizes[1], sizes[3], *geometry),
    ]
    for n_threads in (1, 2, 3, 4):
        options = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "connections": table,
            "n_threads": n_threads,
        }
        results = [
            functional.conv2d(x, weight, bias, **options),
            *functional.conv2d_backward(x, weight, dy, **options),
        ]
        check(results, expected, scales, dtype, integers)


@pytest.mark.parametrize("integers", [True, False], ids=["integers", "normal"])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("connected", [False, True], ids=["full", "table"])
def test_conv2d(isa, dtype, case, connected, integers):
    compare_conv2d(dtype, case, connected, integers)


@pytest.mark.parametrize("case", WINOGRAD_CONVOLUTIONS, ids=str)
def test_conv2d_by_winograd(isa, dtype, case):
    _, *shape, filters, kernel, stride, dilation, padding = case
    layer = Conv2D(filters, kernel, stride=stride, dilation=dilation, padding=padding, bias=False)
    compare_conv2d(dtype, case, False, False)  # the gradient to x is computed by Winograd
    # so are the outputs in training; they are read as the gradient to the weight of a dense layer after them
    network = Network([layer, Dense(1, bias=False)], shape, dtype=dtype)
    network.initialize(np.random.RandomState(0))
    assert network.compile(training=True).sizes["n_transformed_weights"] > 0
    x = np.random.default_rng(1).standard_normal((1, *shape)).astype(dtype)
    _, dparams = network.backward(x, np.ones((1, 1), dtype))
    weight = network.weights["0.weight"].astype(np.float64)
    sides = pad_image(
        shape, np.multiply(np.subtract(weight.shape[2:], 1), dilation) + 1, as_pair(stride), padding
    )
    geometry = as_pair(stride), as_pair(dilation), sides, np.ones(weight.shape[:2], bool)
    y = reference.conv2d(x.astype(np.float64), weight, np.zeros(filters), *geometry)
    scale = reference.conv2d(np.abs(x), np.abs(weight), np.zeros(filters), *geometry)
    check([network.split(dparams)["1.weight"].reshape(y.shape)], [y], [scale], dtype, False)


# n, channels, height, width, filters, groups, kernel, stride, dilation, padding
GROUPS = [
    (3, 4, 6, 6, 4, 4, 3, 1, 1, "same"),
    (17, 6, 7, 5, 9, 3, (2, 3), (2, 1), 1, "valid"),
    (2, 18, 5, 6, 27, 9, 3, 1, 1, 1),
    (5, 32, 8, 8, 32, 2, 3, 1, 1, "same"),
    (4, 2, 9, 8, 10, 2, 2, 3, (2, 1), ((1, 0), (2, 1))),
    (4, 8, 3, 3, 4, 2, 3, 1, 1, "valid"),
]


@pytest.mark.parametrize("integers", [True, False], ids=["integers", "normal"])
@pytest.mark.parametrize("case", GROUPS, ids=str)
def test_grouped_conv2d(isa, dtype, case, integers):
    n, channels, height, width, filters, groups, kernel, stride, dilation, padding = case
    rng = np.random.default_rng(0)
    kernel, stride, dilation = as_pair(kernel), as_pair(stride), as_pair(dilation)
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    sides = pad_image((channels, height, width), span, stride, padding)
    size = slide((channels, height, width), span, stride, padding, "")
    x = draw(rng, (n, channels, height, width), dtype, integers)
    weight = draw(rng, (filters, channels // groups, *kernel), dtype, integers)
    bias, dy = draw(rng, filters, dtype, integers), draw(rng, (n, filters, *size), dtype, integers)
    geometry = groups, stride, dilation, sides

    def run_reference(x, weight, bias, dy):
        backward = reference.grouped_conv2d_backward(x, weight, dy, *geometry)
        return [reference.grouped_conv2d(x, weight, bias, *geometry), *backward]

    wide = [a.astype(np.float64) for a in (x, weight, bias, dy)]
    expected, scales = run_reference(*wide), run_reference(*map(np.abs, wide))
    for n_threads in (1, 2, 3, 4):
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        options.update(groups=groups, n_threads=n_threads)
        results = [
            functional.conv2d(x, weight, bias, **options),
            *functional.conv2d_backward(x, weight, dy, **options),
        ]
        check(results, expected, scales, dtype, integers)


# n, channels, height, width, filters, kernel, stride, padding
LOCAL = [
    (1, 1, 1, 1, 1, 1, 1, "valid"),
    (17, 2, 6, 5, 3, 3, 1, "valid"),
    (3, 5, 4, 7, 14, (2, 3), (1, 2), "same"),
    (5, 1, 8, 8, 4, 2, 3, ((1, 0), (2, 3))),
    (40, 3, 5, 5, 2, (5, 4), 1, 1),
    (2, 2, 3, 3, 2, 2, 1, 3),
]


@pytest.mark.parametrize("integers", [True, False], ids=["integers", "normal"])
@pytest.mark.parametrize("case", LOCAL, ids=str)
def test_local_conv2d(isa, dtype, case, integers):
    n, channels, height, width, filters, kernel, stride, padding = case
    rng = np.random.default_rng(0)
    kernel, stride, shape = as_pair(kernel), as_pair(stride), (channels, height, width)
    sides = pad_image(shape, kernel, stride, padding)
    network = Network(
        [LocallyConnected2D(filters, kernel, stride=stride, padding=padding)], shape, None, dtype
    )
    size = network.output_shape
    x, dy = draw(rng, (n, *shape), dtype, integers), draw(rng, (n, *size), dtype, integers)
    weight = draw(rng, (*size, channels, *kernel), dtype, integers)
    bias = draw(rng, size, dtype, integers)
    network.set_weights({"0.weight": weight, "0.bias": bias})

    def run_reference(x, weight, bias, dy):
        backward = reference.local_conv2d_backward(x, weight, dy, stride, sides)
        return [reference.local_conv2d(x, weight, bias, stride, sides), *backward]

    wide = [a.astype(np.float64) for a in (x, weight, bias, dy)]
    expected, scales = run_reference(*wide), run_reference(*map(np.abs, wide))
    for n_threads in (1, 2, 3, 4):
        dx, dparams = network.backward(x, dy, n_threads)
        results = [network.forward(x, n_threads).reshape(dy.shape), dx, *network.split(dparams).values()]
        check(results, expected, scales, dtype, integers)


@pytest.mark.parametrize("shape", [(1, 1), (17, 5), (3, 2, 5, 7), (20, 40), (33, 3, 4, 4)], ids=str)
def test_layer_norm(isa, dtype, shape):
    rng = np.random.default_rng(6)
    x, dy = (rng.standard_normal((2, *shape)) * 3).astype(dtype)
    gamma, beta = rng.standard_normal((2, *shape[1:])).astype(dtype)
    network = Network([LayerNorm(epsilon=0.01)], shape[1:], None, dtype)
    network.set_weights({"0.weight": gamma, "0.bias": beta})
    wide = [a.astype(np.float64) for a in (x, dy, gamma, beta)]
    expected = [
        reference.layer_norm(wide[0], *wide[2:], 0.01),
        *reference.layer_norm_backward(*wide[:3], 0.01),
    ]
    for n_threads in (1, 2, 3):
        dx, dparams = network.backward(x, dy, n_threads)
        results = [network.forward(x, n_threads).reshape(shape), dx, *network.split(dparams).values()]
        for result, exact in zip(results, expected, strict=True):
            assert result.dtype == dtype
            np.testing.assert_allclose(result, exact, rtol=0, atol=300 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (17, 3, 5, 4)], ids=str)
def test_rescaling_and_zero_padding(isa, dtype, shape):
    rng = np.random.default_rng(7)
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    network = Network([Rescaling(-2.5, 4)], shape[1:], None, dtype)
    y = network.forward(x).reshape(shape)
    np.testing.assert_allclose(y, -2.5 * x + 4, rtol=0, atol=16 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(network.backward(x, dy)[0], dtype(-2.5) * dy)
    for padding, sides in ((2, ((2, 2), (2, 2))), ((0, 1), ((0, 0), (1, 1))), (((1, 0), (3, 2)),) * 2):
        network = Network([ZeroPad2D(padding)], shape[1:], None, dtype)
        expected = reference.zero_pad2d(x, sides)
        np.testing.assert_array_equal(network.forward(x).reshape(expected.shape), expected)
        gradient = rng.standard_normal(expected.shape).astype(dtype)
        dx, _ = network.backward(x, gradient)
        np.testing.assert_array_equal(dx, reference.zero_pad2d_backward(gradient, sides))


@pytest.mark.parametrize("integers", [True, False], ids=["integers", "normal"])
@pytest.mark.parametrize("case", POOLINGS, ids=str)
@pytest.mark.parametrize("kind", ["max", "avg", "avg_with_padding"])
def test_pooling(isa, dtype, case, kind, integers):
    n, channels, height, width, window, stride, padding = case
    rng = np.random.default_rng(1)
    window, stride = as_pair(window), as_pair(stride)
    sides = pad_image((channels, height, width), window, stride, padding)
    size = slide((channels, height, width), window, stride, padding, "")
    x = draw(rng, (n, channels, height, width), dtype, integers)
    # a multiple of the area of every window, so that averages of small integers are exact
    unit = 1 if kind == "max" or not integers else 2520
    dy = draw(rng, (n, channels, *size), dtype, integers) * dtype(unit)
    x = x * dtype(unit)
    geometry = window, stride, sides
    wide, gradient = x.astype(np.float64), dy.astype(np.float64)
    if kind == "max":
        options, forward, backward = {}, functional.max_pool2d, functional.max_pool2d_backward
        expected = [
            reference.max_pool2d(wide, *geometry),
            reference.max_pool2d_backward(wide, gradient, *geometry),
        ]
    else:
        options = {"count_include_pad": kind == "avg_with_padding"}
        forward, backward = functional.avg_pool2d, functional.avg_pool2d_backward
        expected = [
            reference.avg_pool2d(wide, *geometry, **options),
            reference.avg_pool2d_backward(wide, gradient, *geometry, **options),
        ]
    scales = [
        reference.avg_pool2d(np.abs(wide), *geometry) * 4,
        reference.avg_pool2d_backward(wide, np.abs(gradient), *geometry) * 36 + 1,
    ]
    for n_threads in (1, 2, 3, 4):
        options.update(stride=stride, padding=padding, n_threads=n_threads)
        results = [forward(x, window, **options), backward(x, dy, window, **options)]
        check(results, expected, scales, dtype, integers)


@pytest.mark.parametrize("integers", [True, False], ids=["integers", "normal"])
@pytest.mark.parametrize(
    "n, inputs, units",
    [(1, 1, 1), (17, 17, 17), (5, 400, 120), (50, 84, 10), (3, 1, 30), (40, 33, 1)],
)
def test_dense(isa, dtype, n, inputs, units, integers):
    rng = np.random.default_rng(2)
    x, weight = draw(rng, (n, inputs), dtype, integers), draw(rng, (units, inputs), dtype, integers)
    bias, dy = draw(rng, units, dtype, integers), draw(rng, (n, units), dtype, integers)
    wide = [a.astype(np.float64) for a in (x, weight, bias, dy)]
    sizes = [np.abs(a) for a in wide]
    expected = [reference.dense(*wide[:3]), *reference.dense_backward(wide[0], wide[1], wide[3])]
    scales = [reference.dense(*sizes[:3]), *reference.dense_backward(sizes[0], sizes[1], sizes[3])]
    for n_threads in (1, 2, 3, 4):
        results = [
            functional.dense(x, weight, bias, n_threads=n_threads),
            *functional.dense_backward(x, weight, dy, n_threads=n_threads),
        ]
        check(results, expected, scales, dtype, integers)


# name in functional: layer, its parameter by name and by position, name in reference if it differs
ACTIVATIONS = {
    "relu": (ReLU(), {}, (0.0,), "leaky_relu"),
    "leaky_relu": (LeakyReLU(0.1), {"slope": 0.1}, (0.1,), None),
    "elu": (ELU(0.7), {"alpha": 0.7}, (0.7,), None),
    "gelu": (GELU(), {}, (), None),
    "sigmoid": (Sigmoid(), {}, (), None),
    "tanh": (Tanh(), {}, (), None),
    "softplus": (Softplus(), {}, (), None),
    "arctan": (Arctan(), {}, (), None),
    "softmax": (Softmax(), {}, (), None),
    "log_softmax": (LogSoftmax(), {}, (), None),
}


@pytest.mark.parametrize("shape", [(1, 1), (17, 5), (3, 2, 5, 7), (2, 600)], ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(isa, dtype, name, shape):
    rng = np.random.default_rng(3)
    layer, options, parameter, other = ACTIVATIONS[name]
    other = other or name
    x = (rng.standard_normal(shape) * 10).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    x.flat[0] = 0
    wide = x.astype(np.float64)
    expected_y = getattr(reference, other)(wide, *parameter)
    expected_dx = getattr(reference, other + "_backward")(wide, dy.astype(np.float64), *parameter)
    network = Network([layer], shape[1:], dtype=dtype)
    # the error of a sum of exponentials is that of the exponents and of all additions
    many = 40 if "softmax" in name else 1
    eps = many * np.finfo(dtype).eps
    for n_threads in (1, 2, 3, 4):
        y = getattr(functional, name)(x, **options, n_threads=n_threads)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected_y, rtol=6 * eps, atol=1e-37 if many == 1 else eps)
        dx, _ = network.backward(x, dy, n_threads)
        # near saturation, 1 - y and 1 - y^2 suffer cancellation: their absolute error is that of y
        np.testing.assert_allclose(dx, expected_dx, rtol=8 * eps, atol=8 * eps * np.abs(dy).max())


def test_activations_at_the_edges(isa, dtype):
    x = np.array([[-1e30, -1e4, -100, -1e-30, 0, 1e-30, 100, 1e4, 1e30]], dtype)
    with np.errstate(all="raise"):
        np.testing.assert_allclose(functional.sigmoid(x)[0], [0, 0, 0, 0.5, 0.5, 0.5, 1, 1, 1], atol=1e-37)
        np.testing.assert_allclose(functional.tanh(x)[0], [-1, -1, -1, -1e-30, 0, 1e-30, 1, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("name, low, high", [("softplus", 0, 1e4), ("elu", -1, 1e4), ("gelu", 0, 1e4)])
def test_one_sided_activations_at_the_edges(isa, dtype, name, low, high):
    x = np.array([[-1e4, 1e4, -1e30, 1e30, np.inf, np.nan]], dtype)
    with np.errstate(all="raise"):
        y = getattr(functional, name)(x)[0]
    np.testing.assert_allclose(y, [low, high, low, 1e30, np.inf, np.nan], rtol=1e-6, atol=1e-37)
    x = np.array([[-1e-30, 0, 1e-30]], dtype)
    half = {"softplus": np.log(2) * np.ones(3), "elu": x[0], "gelu": x[0] / 2}[name]
    np.testing.assert_allclose(getattr(functional, name)(x)[0], half, rtol=1e-6)


def test_arctan_at_the_edges(isa, dtype):
    x = np.array([[-np.inf, -1e30, -1e4, -1e-30, 0, 1e-30, 1e4, 1e30, np.inf, np.nan]], dtype)
    np.testing.assert_allclose(functional.arctan(x), np.arctan(x), rtol=1e-6)


def test_gelu_is_accurate_where_the_normal_distribution_vanishes(isa, dtype):
    x = np.linspace(-12.5 if dtype == np.float32 else -36, 0, 500, dtype=dtype)[None, :-1]
    np.testing.assert_allclose(
        functional.gelu(x), reference.gelu(x.astype(np.float64)), rtol=8 * np.finfo(dtype).eps
    )


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("n, classes", [(1, 1), (1, 2), (17, 10), (40, 33)])
def test_softmax_and_cross_entropy(isa, dtype, n, classes, scale):
    rng = np.random.default_rng(4)
    z = (rng.standard_normal((n, classes)) * scale).astype(dtype)
    target, weight = rng.integers(0, classes, n), rng.random(n)
    eps = np.finfo(dtype).eps
    wide = z.astype(np.float64)
    expected_loss, expected_dz = reference.cross_entropy(wide, target, weight)
    for n_threads in (1, 2, 3, 4):
        p = functional.softmax(z, n_threads=n_threads)
        log_p = functional.log_softmax(z, n_threads=n_threads)
        loss, dz = functional.cross_entropy(z, target, weight, n_threads=n_threads)
        np.testing.assert_allclose(p, reference.softmax(wide), rtol=40 * eps * scale, atol=4 * eps)
        np.testing.assert_allclose(log_p, reference.log_softmax(wide), rtol=8 * eps, atol=8 * eps * scale)
        assert np.abs(p.sum(axis=1) - 1).max() <= 4 * classes * eps
        assert isinstance(loss, float)
        np.testing.assert_allclose(loss, expected_loss, rtol=8 * eps, atol=8 * eps * scale)
        np.testing.assert_allclose(dz, expected_dz, rtol=40 * eps * scale, atol=4 * eps)


OUTPUT_LOSSES = ["binary_cross_entropy", "squared_error", "absolute_error", "huber"]


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("n, k", [(1, 1), (1, 2), (17, 10), (40, 33)])
@pytest.mark.parametrize("name", OUTPUT_LOSSES)
def test_losses_of_outputs(isa, dtype, name, n, k, scale):
    rng = np.random.default_rng(4)
    z = (rng.standard_normal((n, k)) * scale).astype(dtype)
    t = rng.integers(0, 2, (n, k)) if name == "binary_cross_entropy" else rng.standard_normal((n, k)) * scale
    weight, eps, network = rng.random(n) + 0.1, np.finfo(dtype).eps, Network([], (k,), dtype=dtype)
    compute = getattr(reference, name)
    # targets of two of the types that images may have, contiguous and with strides
    for target in (t.astype(dtype), np.repeat(t, 2, axis=1).astype(np.float64)[:, ::2]):
        expected, gradient = reference.mean_loss(compute, z.astype(float), target.astype(dtype), weight)
        mean, dz, _ = network.loss(z, target, weight, loss=Loss(name))
        np.testing.assert_allclose(mean, expected, rtol=16 * eps)
        np.testing.assert_allclose(dz, gradient, rtol=8 * eps, atol=8 * eps * np.abs(gradient).max())
        for n_threads in (2, 3):
            again = network.loss(z, target, weight, n_threads, Loss(name))
            assert again[0] == mean
            np.testing.assert_array_equal(again[1], dz)
    if name == "binary_cross_entropy":
        again = network.loss(z, t.astype(np.uint8), weight, 1, Loss(name))
        assert again[0] == mean
        np.testing.assert_array_equal(again[1], dz)


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy", "squared_error", "absolute_error"])
def test_losses_of_classes_and_label_smoothing(isa, dtype, name):
    rng = np.random.default_rng(4)
    z, target = rng.standard_normal((21, 6)).astype(dtype), rng.integers(0, 6, 21)
    weight, eps, network = rng.random(21) + 0.1, np.finfo(dtype).eps, Network([], (6,), dtype=dtype)
    for smoothing in (0.0, 0.1, 0.9):
        if name == "cross_entropy":
            expected, gradient = reference.cross_entropy(z.astype(float), target, weight, smoothing)
        else:
            compute = getattr(reference, name)
            expected, gradient = reference.mean_loss(compute, z.astype(float), target, weight, smoothing)
        for form in (target, np.eye(6, dtype=np.uint8)[target]):
            mean, dz, _ = network.loss(z, form, weight, loss=Loss(name, smoothing))
            np.testing.assert_allclose(mean, expected, rtol=16 * eps)
            np.testing.assert_allclose(dz, gradient, atol=4 * eps)


@pytest.mark.parametrize("name", ["cross_entropy", *OUTPUT_LOSSES])
def test_losses_of_huge_outputs(isa, dtype, name):
    network = Network([], (4,), dtype=dtype)
    right, wrong = np.array([[1e4, -1e4, -1e4, -1e4]], dtype), np.array([[-1e4, 1e4, -1e4, -1e4]], dtype)
    target = np.array([[1, 0, 0, 0]], np.uint8)
    expected = {
        "cross_entropy": (0, 2e4, [-1, 1, 0, 0]),
        "binary_cross_entropy": (0, 5e3, [-0.25, 0.25, 0, 0]),
        "squared_error": ((9999**2 + 3e8) / 4, (10001**2 + 3e8) / 4, [-5000.5, 5e3, -5e3, -5e3]),
        "absolute_error": (39999 / 4, 40001 / 4, [-0.25, 0.25, -0.25, -0.25]),
        "huber": (39997 / 4, 39999 / 4, [-0.25, 0.25, -0.25, -0.25]),
    }[name]
    with np.errstate(all="raise"):
        losses = [network.loss(z, target, loss=Loss(name)) for z in (right, wrong)]
    np.testing.assert_allclose([mean for mean, _, _ in losses], expected[:2], rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(losses[1][1][0], expected[2], rtol=1e-6, atol=1e-37)


def test_binary_cross_entropy_keeps_tiny_losses():
    z, target = np.array([[20.0, -30.0]], np.float32), np.array([[1, 0]], np.uint8)
    mean, _, _ = Network([], (2,), dtype=np.float32).loss(z, target, loss=Loss("binary_cross_entropy"))
    np.testing.assert_allclose(mean, np.exp([-20.0, -30.0]).mean(), rtol=1e-6)


def test_targets_of_another_shape_than_the_outputs():
    network, z = Network([], (4,)), np.ones((3, 4), np.float32)
    with pytest.raises(ValueError, match="target must be from 0 to 3, got 0 to 4"):
        network.loss(z, np.array([0, 1, 4]))
    for wrong in (("hubber",), ("huber", 1), ("huber", "a")):
        with pytest.raises(ValueError, match="unknown loss 'hubber'.*mean 'huber'|label_smoothing must be"):
            Loss(*wrong)
    with pytest.raises(ValueError, match=r"target must have shape \('n', 4\), got \(3, 5\)"):
        network.loss(z, np.ones((3, 5)), loss=Loss("huber"))
    for target in (np.zeros(2, np.intp), np.ones((4, 4))):
        with pytest.raises(ValueError, match="target must have 3 rows, as weight has"):
            network.loss(z, target, np.ones(3), loss=CROSS_ENTROPY)


def step_by_reference(optimizer, params, gradient, state, rate, t):
    """Return the parameters and state after a step of the reference implementation."""
    settings = [getattr(optimizer, f.name) for f in dataclasses.fields(optimizer)]
    if isinstance(optimizer, Adam):
        params, *state = reference.adam(params, gradient, *state, rate, *settings, t)
    elif isinstance(optimizer, (Adagrad, RMSprop, Adadelta)):
        step = getattr(reference, type(optimizer).__name__.lower())
        params, *state = step(params, gradient, *state, rate, *settings)
    else:
        step = reference.sgd if isinstance(optimizer, SGD) else reference.lion
        params, state[0] = step(params, gradient, state[0], rate, *settings)
    return params, state


@pytest.mark.parametrize("weight_decay, clip_norm", [(0.0, None), (0.3, 0.2)])
@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(),
        SGD(momentum=0.9),
        SGD(momentum=0.8, nesterov=True),
        Adagrad(),
        Adagrad(momentum=0.7, epsilon=1e-3),
        Adadelta(),
        Adadelta(rho=0.8, epsilon=1e-2),
        RMSprop(),
        RMSprop(rho=0.95, momentum=0.5, epsilon=1e-3),
        Adam(),
        Adam(beta_1=0.8, beta_2=0.9, epsilon=1e-3),
        AdamW(),
        Lion(),
        Lion(beta_1=0.5, beta_2=0.8),
    ],
    ids=repr,
)
def test_optimizers(isa, dtype, optimizer, weight_decay, clip_norm):
    # more parameters than a thread updates at a time, several gradient shards, a short last batch
    rng = np.random.RandomState(5)
    network = Network([Dense(61), Dense(30)], (19,), 3, dtype)
    network.initialize(rng)
    network.params += 0.01  # so that biases are not 0, and would show decay
    X = rng.standard_normal((70, 19)).astype(dtype)
    target, weight = rng.randint(0, 3, 70), rng.rand(70) + 0.5
    params, state = network.params.astype(np.float64), np.zeros((2, network.n_params))
    decay = np.zeros(network.n_params)
    for key, part in network.split(decay).items():
        part[...] = weight_decay * key.endswith(".weight")
    trainer = Trainer(network, optimizer, rng)
    run_epoch = trainer.prepare(
        TrainingData(X, target, weight), StepSettings(32, 0.01, False, 2, weight_decay, clip_norm)
    )
    t = 0
    for _ in range(2):
        exact = Network([Dense(61), Dense(30)], (19,), 3, np.float64)
        for start in (0, 32, 64):
            exact.params = params
            batch = slice(start, start + 32)
            _, _, gradient = exact.loss(X[batch].astype(np.float64), target[batch], weight[batch])
            t += 1
            if clip_norm is not None:
                assert np.linalg.norm(gradient) > clip_norm
                gradient = reference.clip(gradient, clip_norm)
            if isinstance(optimizer, (AdamW, Lion)):
                params = params - 0.01 * decay * params
            else:
                gradient = gradient + decay * params
            params, state = step_by_reference(optimizer, params, gradient, state, 0.01, t)
        run_epoch()
        assert trainer.steps[0] == t
        tolerance = 1e-12 if dtype == np.float64 else 2e-4
        np.testing.assert_allclose(network.params, params, rtol=tolerance, atol=tolerance)
