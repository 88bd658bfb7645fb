"""Pooling against its reference implementation."""

import numpy as np
import pytest
import reference
from checks import as_pair, check_sums, draw

from skconvnet import functional
from skconvnet.layers.window import pad_image, slide

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
        check_sums(results, expected, scales, dtype, integers)
