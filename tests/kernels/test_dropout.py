"""Dropout against its reference implementation, its mean, and its random numbers."""

import numpy as np
import pytest
import reference

from skconvnet._network import Network
from skconvnet.layers import (
    Dropout,
)


def test_dropout_equals_its_reference_implementation(isa, dtype):
    network = Network([Dropout(0.3), Dropout(0.6)], (3, 5, 4), dtype=dtype)
    X = np.random.RandomState(0).standard_normal((37, 3, 5, 4)).astype(dtype)
    np.testing.assert_array_equal(network.forward(X), X.reshape(37, -1))
    dx, _ = network.backward(X, np.ones_like(X))
    masks = [reference.dropout_mask(0, stream, 37, 60, rate) for stream, rate in enumerate((0.3, 0.6))]
    np.testing.assert_allclose(dx.reshape(37, -1), masks[0] * masks[1], rtol=1e-6)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_the_expected_value(rate):
    masks = np.stack([reference.dropout_mask(key, 3, 100, 500, rate) for key in range(20)])
    kept = masks > 0
    assert abs(kept.mean() - (1 - rate)) < 0.002
    assert np.allclose(masks[kept], 1 / (1 - rate))
    # masks are not correlated between steps, samples and elements
    for axis in range(3):
        first, second = (np.delete(kept, k, axis).ravel() for k in (0, -1))
        if 0 < rate:
            assert abs(np.corrcoef(first, second)[0, 1]) < 0.01


def test_dropout_draws_anew_for_each_step_and_layer():
    masks = [reference.dropout_mask(key, stream, 20, 50, 0.5) for key in (1, 2) for stream in (0, 1)]
    for k, mask in enumerate(masks):
        for other in masks[:k]:
            assert 0.4 < (mask == other).mean() < 0.6
