"""Checks of networks and values that several tests share."""

import copy
import pickle

import numpy as np
import pytest

from skconvnet import layers, losses, optimizers, schedules
from skconvnet._network import Network


def build(shape, layers, n_outputs=3, dtype=np.float64, seed=0):
    """Return a network whose parameters and running moments are all drawn at random."""
    network = Network(layers, shape, n_outputs, dtype)
    rng = np.random.RandomState(seed)
    network.initialize(rng)
    for key, part in network.split(network.params).items():
        if key.endswith(("bias", "running_mean")):
            part[...] = rng.standard_normal(part.shape) * 0.1
        elif key.endswith("running_var"):
            part += rng.rand(*part.shape)
        elif key == "output.weight":  # small ones would give small gradients
            part *= 5
        else:  # gammas start equal
            part += rng.standard_normal(part.shape) * 0.1 * (part == 1)
    return network


def check_gradients(network, rng, X, dx, dparams, measure):
    """Check gradients of measure(params, X) along random directions against central differences.

    A gradient of 0 is right only if measure does not change at all.
    """
    params, h = network.params.copy(), 1e-6

    def check(gradient, along_params, along_x):
        sides = [measure(params + h * s * along_params, X + h * s * along_x) for s in (1, -1)]
        computed = (gradient * (along_x if gradient is dx else along_params[: len(dparams)])).sum()
        assert abs((sides[0] - sides[1]) / (2 * h) - computed) <= 1e-7 * abs(computed)

    def tilt(gradient):
        """Return the direction of a gradient, mixed with a random one."""
        length = np.linalg.norm(gradient) or 1
        return gradient / length + rng.standard_normal(gradient.shape) / gradient.size**0.5 / 2

    zeros = np.zeros_like(params), np.zeros_like(X)
    # weights that a connection table leaves out are not parameters
    tables = {
        f"{stage.key}.weight": np.array(stage.layer.connections)[
            (..., *[None] * (len(stage.shapes["weight"]) - 2))
        ]
        for stage in network.stages
        if getattr(stage.layer, "connections", None)
    }
    for key, part in network.split(dparams).items():  # each parameter by itself
        direction = zeros[0].copy()
        connected = tables.get(key, np.array(True))
        assert not (part * ~connected).any()
        network.split(direction)[key][...] = tilt(part) * connected
        check(dparams, direction, zeros[1])
    check(dx, zeros[0], tilt(dx))


def check_batch_invariance(rng, X, predict, differentiate):
    """Check that predict(X, n_threads) is batch-invariant, and that results are bitwise equal for any threads.

    X: 37 samples; differentiate(n_threads) returns numbers and arrays.
    """
    y, gradients = predict(X, 1), differentiate(1)
    for n_threads in (2, 3, 8):
        np.testing.assert_array_equal(predict(X, n_threads), y)
        for again, gradient in zip(differentiate(n_threads), gradients):
            np.testing.assert_array_equal(again, gradient)
    order = rng.permutation(37)
    np.testing.assert_array_equal(predict(X[order], 1), y[order])
    for k in (0, 16, 36):
        for n in (1, 3):
            np.testing.assert_array_equal(predict(X[k : k + n], 2), y[k : k + n])
    for n in (16, 21):
        np.testing.assert_array_equal(predict(X[:n], 1), y[:n])


def check_value(value, **names):
    """Check that a value is equal to its evaluated repr, pickle and copy, and cannot be changed.

    names: what the repr names, in addition to the package's classes.
    """
    names = {**vars(layers), **vars(losses), **vars(optimizers), **vars(schedules), **names}
    for same in (eval(repr(value), names), pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert same == value and hash(same) == hash(value) and repr(same) == repr(value)
    with pytest.raises(AttributeError):
        value.name = "other"


def draw(rng, shape, dtype, integers):
    """Return random values: small integers, whose sums are exact, or normal ones."""
    if integers:
        return rng.integers(-3, 4, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def check_sums(results, expected, scales, dtype, integers):
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
