"""What networks are checked for, whichever test makes them."""

import copy
import pickle

import numpy as np
import pytest

from skconvnet import layers, optimizers, schedules
from skconvnet._network import Network


def build(shape, layers, n_outputs=3, dtype=np.float64, seed=0):
    """A network whose parameters and running moments are all drawn at random."""
    network = Network(layers, shape, n_outputs, dtype)
    rng = np.random.RandomState(seed)
    network.initialize(rng)
    for key, part in network.split(network.params).items():
        if key.endswith(("bias", "running_mean")):
            part[...] = rng.standard_normal(part.shape) * 0.1
        elif key.endswith("running_var"):
            part += rng.rand(*part.shape)
        else:  # gammas start equal
            part += rng.standard_normal(part.shape) * 0.1 * (part == 1)
    return network


def check_gradients(network, rng, X, dx, dparams, measure):
    """Gradients of measure(params, X) along random directions, against central differences.

    A gradient of 0 is right only where measure does not move by a single bit.
    """
    params, h = network.params.copy(), 1e-6

    def check(gradient, along_params, along_x):
        sides = [measure(params + h * s * along_params, X + h * s * along_x) for s in (1, -1)]
        computed = (gradient * (along_x if gradient is dx else along_params[: len(dparams)])).sum()
        assert abs((sides[0] - sides[1]) / (2 * h) - computed) <= 1e-7 * abs(computed)

    def tilt(gradient):
        """Its direction, mixed with a random one."""
        length = np.linalg.norm(gradient) or 1
        return gradient / length + rng.standard_normal(gradient.shape) / gradient.size**0.5 / 2

    still = np.zeros_like(params), np.zeros_like(X)
    # what a connection table leaves out is no parameter
    tables = {
        f"{stage.key}.weight": np.array(stage.layer.connections)[:, :, None, None]
        for stage in network.stages
        if getattr(stage.layer, "connections", None)
    }
    for key, part in network.split(dparams).items():  # each parameter by itself
        direction = still[0].copy()
        connected = tables.get(key, np.array(True))
        assert not (part * ~connected).any()
        network.split(direction)[key][...] = tilt(part) * connected
        check(dparams, direction, still[1])
    check(dx, still[0], tilt(dx))


def check_batch_invariance(rng, X, predict, differentiate):
    """The bits of predict(X, n_threads) depend on neither threads nor company, a gradient's not on threads.

    X: 37 samples; differentiate(n_threads) gives numbers and arrays.
    """
    y, slopes = predict(X, 1), differentiate(1)
    for n_threads in (2, 3, 8):
        np.testing.assert_array_equal(predict(X, n_threads), y)
        for again, slope in zip(differentiate(n_threads), slopes):
            np.testing.assert_array_equal(again, slope)
    order = rng.permutation(37)
    np.testing.assert_array_equal(predict(X[order], 1), y[order])
    for k in (0, 16, 36):
        for n in (1, 3):
            np.testing.assert_array_equal(predict(X[k : k + n], 2), y[k : k + n])
    for n in (16, 21):
        np.testing.assert_array_equal(predict(X[:n], 1), y[:n])


def check_value(value):
    """It is printed, pickled and copied as what it is, and cannot be changed."""
    names = {**vars(layers), **vars(optimizers), **vars(schedules)}
    for same in (eval(repr(value), names), pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert same == value and hash(same) == hash(value) and repr(same) == repr(value)
    with pytest.raises(AttributeError):
        value.name = "other"
