"""Convolutions with unshared weights against their reference implementation."""

import numpy as np
import pytest
import reference
from checks import as_pair, check_sums, draw

from skconvnet._network import Network
from skconvnet.layers import (
    LocallyConnected2D,
)
from skconvnet.layers.window import pad_image

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
        check_sums(results, expected, scales, dtype, integers)
