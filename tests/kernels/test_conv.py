"""Convolutions against their reference implementation: shapes, dtypes, instruction sets, threads."""

import numpy as np
import pytest
import reference
from checks import as_pair, check_sums, draw

from skconvnet import functional, kernels
from skconvnet._lowering import channel_weights
from skconvnet._network import Network
from skconvnet.layers import (
    Conv2D,
    Dense,
)
from skconvnet.layers.window import pad_image, slide

# n, channels, height, width, filters, kernel, stride, dilation, padding
CONVOLUTIONS = [
    (1, 1, 1, 1, 1, 1, 1, 1, "valid"),
    (17, 1, 1, 1, 3, 3, 1, 1, "same"),
    (3, 1, 5, 5, 1, 5, 1, 1, "valid"),
    (17, 17, 6, 6, 17, 6, 1, 1, "valid"),
    (2, 4, 7, 9, 5, (7, 9), 1, 1, 1),
    (5, 13, 6, 5, 13, 3, 1, 1, "same"),
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
    (2, 50, 3, 20, 9, (1, 3), 1, 1, ((1, 2), (1, 1))),
]


# convolutions, in the same form, that are computed by Winograd's algorithm: down the image, then along its rows
WINOGRAD_CONVOLUTIONS = [
    (17, 16, 8, 8, 24, 3, 1, 1, "same"),
    (5, 16, 10, 5, 9, 3, 1, 1, "valid"),
    (9, 24, 7, 4, 12, 3, 1, 1, "same"),
    (3, 10, 10, 9, 17, 5, 1, 1, "same"),
    (2, 24, 13, 7, 10, (5, 2), 1, 1, ((2, 2), (1, 0))),
    (4, 48, 9, 1, 8, (3, 1), 1, 1, ((0, 1), (0, 0))),
    (3, 48, 9, 2, 8, (3, 1), 1, 1, ((1, 1), (1, 2))),  # columns that see only padding
    (1, 70, 8, 40, 50, (3, 2), 1, 1, "same"),  # more channels and columns than are in scratch at a time
    (2, 50, 1, 53, 40, (1, 3), 1, 1, ((0, 0), (0, 1))),
    (4, 60, 3, 21, 9, (1, 5), 1, 1, "same"),
]


# those of which it transforms both axes
NESTED_CONVOLUTIONS = [
    (18, 32, 16, 16, 32, 5, 1, 1, 2),
    (1, 130, 8, 40, 90, 3, 1, 1, "same"),  # more channels and columns than are in scratch at a time
    (3, 40, 9, 13, 47, 3, 1, 1, "same"),
    (2, 64, 7, 10, 48, 3, 1, 1, "valid"),
    (2, 50, 8, 41, 33, 3, 1, 1, ((1, 0), (0, 1))),
    (2, 40, 12, 11, 41, 5, 1, 1, ((2, 1), (1, 2))),
]


# convolutions, in the same form, whose gradient to the weight has input channels as lanes
FEW_PIXELS = [
    (5, 40, 7, 7, 13, (2, 3), (2, 1), 1, 1),
    (17, 64, 5, 6, 21, 1, 1, 1, "valid"),
    (3, 31, 3, 3, 9, 3, 1, 1, "same"),
    (2, 50, 9, 8, 6, (3, 2), (1, 2), (2, 3), 2),
]


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
        check_sums(results, expected, scales, dtype, integers)


@pytest.mark.parametrize("integers", [True, False], ids=["integers", "normal"])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("connected", [False, True], ids=["full", "table"])
def test_conv2d(isa, dtype, case, connected, integers):
    compare_conv2d(dtype, case, connected, integers)


@pytest.mark.parametrize("integers", [True, False], ids=["integers", "normal"])
@pytest.mark.parametrize("case", FEW_PIXELS, ids=str)
def test_conv2d_of_few_pixels(isa, dtype, case, integers):
    compare_conv2d(dtype, case, False, integers)
    _, channels, height, width, filters, kernel, stride, dilation, padding = case
    layer = Conv2D(filters, kernel, stride=stride, dilation=dilation, padding=padding)
    size = layer.output_shape((channels, height, width))[1:]
    assert channel_weights.pays(channels, size, kernels.get_engine(dtype))


@pytest.mark.parametrize("case", WINOGRAD_CONVOLUTIONS + NESTED_CONVOLUTIONS, ids=str)
def test_conv2d_by_winograd(isa, dtype, case):
    n, *shape, filters, kernel, _, _, padding = case
    compare_conv2d(dtype, case, False, False)
    # training computes the same outputs: they are the gradient to the weight of a dense layer after them
    layer = Conv2D(filters, kernel, padding=padding, bias=False)
    network = Network([layer, Dense(1, bias=False)], shape, dtype=dtype)
    network.initialize(np.random.RandomState(0))
    for training in (False, True):
        assert network.compile(training=training).sizes["n_transformed_weights"] > 0
    x = np.random.default_rng(1).standard_normal((1, *shape)).astype(dtype)
    _, dparams = network.backward(x, np.ones((1, 1), dtype))
    y = functional.conv2d(x, network.weights["0.weight"], padding=padding)
    np.testing.assert_array_equal(network.split(dparams)["1.weight"], y.reshape(1, -1))


@pytest.mark.parametrize("case", WINOGRAD_CONVOLUTIONS + NESTED_CONVOLUTIONS, ids=str)
def test_a_single_image_by_winograd(isa, dtype, case):
    _, *shape, filters, kernel, _, _, padding = case
    layers = [Conv2D(filters, kernel, padding=padding, activation="relu"), Conv2D(8, kernel, padding="same")]
    network = Network(layers, shape, dtype=dtype)
    network.initialize(np.random.RandomState(0))
    assert network.compile_single_image().sizes["n_transformed_weights"] > 0
    X = np.random.default_rng(1).standard_normal((40, *shape)).astype(dtype)
    one = network.forward(X[:1], 1)
    for n_threads in (1, 2, 3):
        np.testing.assert_array_equal(network.forward(X, n_threads)[:1], one)
        np.testing.assert_array_equal(network.forward(X[:1], n_threads), one)


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
        check_sums(results, expected, scales, dtype, integers)
