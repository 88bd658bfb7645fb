"""Threads that share a block: bitwise identical results, and work for every thread where it pays."""

import numpy as np
import pytest

from skconvnet import architectures, kernels
from skconvnet._lowering.calls import Call
from skconvnet._network import Network
from skconvnet.layers import (
    GELU,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool2D,
    LayerNorm,
    LocallyConnected2D,
    MaxPool2D,
    Parallel,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    ReLU,
    Rescaling,
    Residual,
    Softmax,
)
from tests.checks import build

BODY = [Conv2D(12, 3, padding="same", bias=False), BatchNorm(), ReLU(), Conv2D(12, 3, padding="same")]
NETWORKS = {
    "normalized": (
        (2, 9, 7),
        [Conv2D(12, 3, padding=1), BatchNorm(), GELU(), Residual(BODY), GlobalAvgPool2D()],
    ),
    "branches": (
        (2, 9, 7),
        [
            Parallel([BODY, [Conv2D(12, 1), BatchNorm()], [Conv2D(12, 1)]], "average"),
            Parallel([[], [GlobalAvgPool2D(), Dense(12, activation="sigmoid")]], "multiply"),
            Parallel([[BatchNorm()], [MaxPool2D(3, stride=1, padding="same")], []]),
        ],
    ),
    "pooled": (
        (3, 12, 12),
        [
            Conv2D(10, 5, padding=2, activation="tanh"),
            MaxPool2D(),
            Conv2D(8, 3, groups=2, stride=2, activation="elu"),
            MaxPool2D(2, stride=1),
            Flatten(),
            Dense(37, activation="sigmoid"),
        ],
    ),
    "winograd": ((16, 8, 8), [Conv2D(17, 3, padding="same", activation="leaky_relu"), ReLU(), AvgPool2D(3)]),
    "few pixels": ((60, 6, 5), [Conv2D(20, 3, padding="same", activation="relu"), Conv2D(9, 3)]),
    "drawn": (
        (3, 8, 8),
        [
            RandomFlip(),
            RandomRotation(20),
            RandomErasing(),
            GaussianNoise(0.1),
            Rescaling(0.5),
            LocallyConnected2D(4, 3, activation="tanh"),
            LayerNorm(),
            Softmax(),
            Dropout(0.3),
        ],
    ),
}


@pytest.fixture
def always_shared(monkeypatch):
    """Make every block that is left over look as if it were worth sharing."""
    monkeypatch.setattr(Call, "count_work", lambda self: 10**12)


def compute(network, X, target, n_threads):
    """Return outputs, loss and gradients."""
    loss, dx, dparams = network.loss(X, target, n_threads=n_threads)
    return network.forward(X, n_threads, "softmax"), np.array(loss), dx, dparams


@pytest.mark.parametrize("name", NETWORKS)
def test_bits_do_not_depend_on_who_shares_a_block(always_shared, isa, dtype, name):
    shape, layers = NETWORKS[name]
    network = build(shape, layers, dtype=dtype)
    rng = np.random.RandomState(0)
    for n in (1, 2, 7, 16, 17, 31, 33, 50, 64):
        X, target = rng.standard_normal((n, *shape)).astype(dtype), rng.randint(0, 3, n)
        expected = compute(network, X, target, 1)
        for n_threads in (2, 3, 5, 8, 13, 16):
            for value, same in zip(compute(network, X, target, n_threads), expected):
                np.testing.assert_array_equal(value, same, err_msg=f"{n} samples on {n_threads} threads")


def test_threads_share_the_blocks_that_are_left(always_shared):
    network = Network([Conv2D(4, 3)], (1, 8, 8), 3)
    program, lanes = network.compile(training=True), kernels.get_engine(np.float32).lanes
    expected = {
        (1, 1): (1, 0),
        (1, 2): (0, 1),
        (2, 2): (2, 0),
        (3, 2): (2, 1),
        (4, 2): (2, 0),  # pairs of blocks
        (4, 3): (3, 1),
        (7, 16): (0, 7),
        (40, 2): (14, 0),  # shards of three blocks
        (40, 16): (0, 14),
    }
    counts = {key: program.count_shards(key[0] * lanes, key[1]) for key in expected}
    assert counts == expected


@pytest.mark.parametrize("name", sorted(architectures.INPUT_SHAPES))
def test_a_block_is_shared_if_it_is_worth_it(name):
    """It is on two threads where a block takes much more time than the barriers between its calls."""
    network = Network(getattr(architectures, name)(), architectures.INPUT_SHAPES[name], 10)
    program = network.compile(training=True)
    shared = program.count_shards(1, 2) == (0, 1)
    assert shared == (name != "kajda_mnist")
    assert program.count_shards(1, 1) == (1, 0)
