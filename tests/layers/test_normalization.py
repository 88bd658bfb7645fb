"""Standardize: the moments that it learns."""

import numpy as np
import pytest

from skconvnet._network import Network
from skconvnet.layers import (
    Standardize,
    normalization,
)


@pytest.mark.parametrize("shape", [(3, 6, 5), (4,)])
@pytest.mark.parametrize("at_once", [1, 1000, 10**9])
def test_standardize_learns_moments(monkeypatch, dtype, shape, at_once):
    monkeypatch.setattr(normalization, "ELEMENTS_AT_ONCE", at_once)
    rng = np.random.RandomState(0)
    X = (rng.standard_normal((700, *shape)) * 3 + 100).astype(dtype)
    X[:, 1] = 0.1  # a constant channel
    network = Network([Standardize()], shape, dtype=dtype)
    network.initialize(rng)
    rows = np.arange(10, 690)
    network.learn(X, rows)
    axes = (0, 2, 3)[: len(shape)]
    expected = X[rows].astype(np.float64).mean(axis=axes), X[rows].astype(np.float64).var(axis=axes)
    expected[1][1] = 1
    for name, value in zip(("mean", "var"), expected):
        np.testing.assert_allclose(network.weights[f"0.running_{name}"], value, rtol=1e-6)
    y = network.forward(X).reshape(X.shape)[rows].astype(np.float64)
    np.testing.assert_allclose(y.mean(axis=axes), 0, atol=1000 * np.finfo(dtype).eps)
    np.testing.assert_allclose(np.delete(y.std(axis=axes), 1), 1, rtol=0, atol=100 * np.finfo(dtype).eps)
