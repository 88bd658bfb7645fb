"""Batch normalisation: running moments, and moments of values far from zero."""

import numpy as np
import reference
from checks import build

from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet.layers import (
    BatchNorm,
)
from skconvnet.optimizers import SGD


def test_running_moments(isa, dtype):
    network = build((2, 5, 4), [BatchNorm(momentum=0.75)], dtype=dtype)
    rng = np.random.RandomState(0)
    X = (rng.standard_normal((43, 2, 5, 4)) * 3 + 5).astype(dtype)
    trainer = Trainer(network, SGD(), rng)
    mean, variance = (network.weights[f"0.running_{name}"].copy() for name in ("mean", "var"))
    trainer.prepare(TrainingData(X, rng.randint(0, 3, 43), np.ones(43)), StepSettings(20, 0.01, False, 2))()
    for batch in (X[:20], X[20:40], X[40:]):
        batch_mean, batch_variance = reference.moments(batch.astype(np.float64))
        n = len(batch) * 20
        mean = 0.75 * mean + 0.25 * batch_mean
        variance = 0.75 * variance + 0.25 * batch_variance * n / (n - 1)
    np.testing.assert_allclose(network.weights["0.running_mean"], mean, rtol=4e-6)
    np.testing.assert_allclose(network.weights["0.running_var"], variance, rtol=4e-6)
    # a batch with one value per channel has no variance, so the running moments stay
    flat = build((3,), [BatchNorm()], dtype=dtype)
    before = flat.params[flat.n_params :].copy()
    one = np.array([[1.0, 2.0, 3.0]], dtype)
    Trainer(flat, SGD(), rng).prepare(
        TrainingData(one, np.zeros(1, np.intp), np.ones(1)), StepSettings(1, 0.01, False, 1)
    )()
    np.testing.assert_array_equal(flat.params[flat.n_params :], before)
    assert np.isfinite(flat.params).all()


def test_moments_of_values_far_from_zero(isa):
    x = np.random.RandomState(0).standard_normal((70, 1, 16, 16)) + 1000
    network = Network([BatchNorm()], (1, 16, 16), dtype=np.float32)
    network.initialize(np.random.RandomState(0))
    dy = np.random.RandomState(1).standard_normal(x.shape)
    x, dy = x.astype(np.float32), dy.astype(np.float32)
    dx, _ = network.backward(x, dy)
    expected = reference.batch_norm_backward(x.astype(float), dy.astype(float), np.ones(1), 1e-5)[0]
    np.testing.assert_allclose(dx, expected, rtol=0, atol=1e-4)
