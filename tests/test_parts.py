"""Parts of networks: the same numbers as the whole, and gradients of what it predicts."""

import numpy as np
import pytest
from checks import build

from skconvnet._parts import cut, differentiate, find_stage
from skconvnet.layers import (
    GELU,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    GlobalAvgPool2D,
    LayerNorm,
    MaxPool2D,
    Output,
    ReLU,
    Residual,
    Standardize,
)

PROJECTED = Residual(
    [Conv2D(6, stride=2, padding="same", name="down"), None, BatchNorm(name="norm"), Dropout(0.5)],
    [Conv2D(6, 1, stride=2), BatchNorm(scale=False)],
    name="block",
)
STACKS = {
    "normalised": [
        Standardize(),
        Conv2D(4, padding="same", name="stem"),
        None,
        BatchNorm(epsilon=1e-3),
        ReLU(),
        Dropout(0.5),
        MaxPool2D(),
        Dense(5),
        BatchNorm(center=False),
        GELU(),
    ],
    "residual": [PROJECTED, ReLU(), Residual([Residual([Conv2D(6, padding="same"), BatchNorm()])])],
    "one channel": [Conv2D(1), BatchNorm(), LayerNorm()],
    "no dense layer": [Conv2D(3), BatchNorm(), GlobalAvgPool2D(), Output(dense=False)],
}


@pytest.fixture(params=STACKS)
def network(request):
    network = build((2, 8, 8), STACKS[request.param])
    for key, part in network.split(network.params).items():
        if key.endswith("weight") and part.ndim == 1:
            part[0] *= -1  # a scale below 0
    return network


def test_parts_give_what_the_whole_gives(network):
    X = np.random.RandomState(0).standard_normal((5, 2, 8, 8))
    for k in range(1, len(network.stages)):
        inner = cut(network, 0, k).forward(X).reshape(5, *network.stages[k].input_shape)
        y = cut(network, k, len(network.stages)).forward(inner)
        np.testing.assert_allclose(y, network.forward(X), rtol=1e-12, atol=1e-13)


def test_gradients_are_those_of_predictions(network):
    rng = np.random.RandomState(0)
    X, dy, h = rng.standard_normal((5, 2, 8, 8)), rng.standard_normal((5, 3)), 1e-6
    dx = differentiate(cut(network, 0, len(network.stages)), X, dy)
    for _ in range(3):
        direction = rng.standard_normal(X.shape)
        sides = [(network.forward(X + s * h * direction) * dy).sum() for s in (1, -1)]
        np.testing.assert_allclose((dx * direction).sum(), (sides[0] - sides[1]) / (2 * h), rtol=1e-6)


def test_normalisation_itself_has_no_way_back_in_prediction():
    network = build((2, 8, 8), STACKS["one channel"])
    with pytest.raises(ValueError, match="BatchNorm can only go forward as it predicts"):
        network.backward(np.zeros((1, 2, 8, 8)), np.zeros((1, 3)), training=False)


def test_a_part_has_weights_of_its_own(network):
    before = network.params.copy()
    cut(network, 0, 2).params[...] = 7
    np.testing.assert_array_equal(network.params, before)


def test_layers_are_found_by_position_and_key():
    network = build((2, 8, 8), STACKS["normalised"])
    assert [find_stage(network, layer) for layer in (0, 1, "stem", 3, "3", -1, "output")] == [
        0, 1, 1, 2, 2, 8, 9,
    ]  # fmt: skip
    for wrong in ("steem", 2, 10, -11):
        with pytest.raises(ValueError, match="there is no layer .*valid: .*stem"):
            find_stage(network, wrong)
    with pytest.raises(ValueError, match="Did you mean 'stem'"):
        find_stage(network, "steem")
