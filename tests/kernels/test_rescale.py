"""Rescaling and zero padding against their reference implementation."""

import numpy as np
import pytest
import reference

from skconvnet._network import Network
from skconvnet.layers import (
    Rescaling,
    ZeroPad2D,
)


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
