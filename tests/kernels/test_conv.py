"""Convolutions against their reference implementation: shapes, dtypes, instruction sets, threads."""

import numpy as np
import pytest
import reference
from checks import as_pair, check_sums, draw

from skconvnet import functional
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
    check_sums([network.split(dparams)["1.weight"].reshape(y.shape)], [y], [scale], dtype, False)


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
