"""Activations against their reference implementation, and at their edges."""

import numpy as np
import pytest
import reference

from skconvnet import functional
from skconvnet._network import Network
from skconvnet.layers import (
    ELU,
    GELU,
    SELU,
    Arctan,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)

# name in functional: layer, its parameter by name and by position, name in reference if it differs
ACTIVATIONS = {
    "relu": (ReLU(), {}, (0.0,), "leaky_relu"),
    "leaky_relu": (LeakyReLU(0.1), {"slope": 0.1}, (0.1,), None),
    "elu": (ELU(0.7), {"alpha": 0.7}, (0.7,), None),
    "gelu": (GELU(), {}, (), None),
    "relu6": (ReLU6(), {}, (), None),
    "selu": (SELU(), {}, (), None),
    "silu": (SiLU(), {}, (), None),
    "mish": (Mish(), {}, (), None),
    "hardswish": (Hardswish(), {}, (), None),
    "softsign": (Softsign(), {}, (), None),
    "sigmoid": (Sigmoid(), {}, (), None),
    "tanh": (Tanh(), {}, (), None),
    "softplus": (Softplus(), {}, (), None),
    "arctan": (Arctan(), {}, (), None),
    "softmax": (Softmax(), {}, (), None),
    "log_softmax": (LogSoftmax(), {}, (), None),
}


@pytest.mark.parametrize("shape", [(1, 1), (17, 5), (3, 2, 5, 7), (2, 600)], ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(isa, dtype, name, shape):
    rng = np.random.default_rng(3)
    layer, options, parameter, other = ACTIVATIONS[name]
    other = other or name
    x = (rng.standard_normal(shape) * 10).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    x.flat[0] = 0
    wide = x.astype(np.float64)
    expected_y = getattr(reference, other)(wide, *parameter)
    expected_dx = getattr(reference, other + "_backward")(wide, dy.astype(np.float64), *parameter)
    network = Network([layer], shape[1:], dtype=dtype)
    # the error of a sum of exponentials is that of the exponents and of all additions
    many = 40 if "softmax" in name else 1
    eps = many * np.finfo(dtype).eps
    for n_threads in (1, 2, 3, 4):
        y = getattr(functional, name)(x, **options, n_threads=n_threads)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected_y, rtol=6 * eps, atol=1e-37 if many == 1 else eps)
        dx, _ = network.backward(x, dy, n_threads)
        # near saturation, 1 - y and 1 - y^2 suffer cancellation: their absolute error is that of y
        np.testing.assert_allclose(dx, expected_dx, rtol=8 * eps, atol=8 * eps * np.abs(dy).max())


def test_activations_at_the_edges(isa, dtype):
    x = np.array([[-1e30, -1e4, -100, -1e-30, 0, 1e-30, 100, 1e4, 1e30]], dtype)
    with np.errstate(all="raise"):
        np.testing.assert_allclose(functional.sigmoid(x)[0], [0, 0, 0, 0.5, 0.5, 0.5, 1, 1, 1], atol=1e-37)
        np.testing.assert_allclose(functional.tanh(x)[0], [-1, -1, -1, -1e-30, 0, 1e-30, 1, 1, 1], rtol=1e-6)


SELU_LIMIT = -reference.SELU_SCALE * reference.SELU_ALPHA


@pytest.mark.parametrize(
    "name, low, slope",
    [
        ("softplus", 0, 1),
        ("elu", -1, 1),
        ("gelu", 0, 1),
        ("silu", 0, 1),
        ("mish", 0, 1),
        ("hardswish", 0, 1),
        ("selu", SELU_LIMIT, reference.SELU_SCALE),
    ],
)
def test_one_sided_activations_at_the_edges(isa, dtype, name, low, slope):
    x = np.array([[-1e4, 1e4, -1e30, 1e30, np.inf, np.nan]], dtype)
    with np.errstate(all="raise"):
        y = getattr(functional, name)(x)[0]
    expected = [low, slope * 1e4, low, slope * 1e30, np.inf, np.nan]
    # x times a factor that is at least about the smallest normal number
    atol = 1e30 * 2 * np.finfo(dtype).tiny if name in ("silu", "mish") else 1e-37
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=atol)
    x = np.array([[-1e-30, 0, 1e-30]], dtype)
    half = {
        "softplus": np.log(2) * np.ones(3),
        "elu": x[0],
        "gelu": x[0] / 2,
        "silu": x[0] / 2,
        "mish": x[0] * 0.6,
        "hardswish": x[0] / 2,
        "selu": x[0] * np.where(x[0] > 0, 1, reference.SELU_ALPHA) * reference.SELU_SCALE,
    }[name]
    np.testing.assert_allclose(getattr(functional, name)(x)[0], half, rtol=1e-6)


def test_bounded_activations_at_the_edges(isa, dtype):
    x = np.array([[-np.inf, -1e30, -1e-30, 0, 1e-30, 6, 7, 1e30, np.inf, np.nan]], dtype)
    np.testing.assert_array_equal(functional.relu6(x)[0], [0, 0, 0, 0, x[0, 4], 6, 6, 6, 6, np.nan])
    expected = [-1, x[0, 2], 0, x[0, 4], 6 / 7, 7 / 8, 1, np.nan]
    np.testing.assert_allclose(functional.softsign(x)[0, [1, 2, 3, 4, 5, 6, 7, 9]], expected, rtol=1e-6)


def test_arctan_at_the_edges(isa, dtype):
    x = np.array([[-np.inf, -1e30, -1e4, -1e-30, 0, 1e-30, 1e4, 1e30, np.inf, np.nan]], dtype)
    np.testing.assert_allclose(functional.arctan(x), np.arctan(x), rtol=1e-6)


def test_gelu_is_accurate_where_the_normal_distribution_vanishes(isa, dtype):
    x = np.linspace(-12.5 if dtype == np.float32 else -36, 0, 500, dtype=dtype)[None, :-1]
    np.testing.assert_allclose(
        functional.gelu(x), reference.gelu(x.astype(np.float64)), rtol=8 * np.finfo(dtype).eps
    )
