"""Programs for single images: which networks have one."""

import numpy as np
from checks import build

from skconvnet.layers import (
    ELU,
    GELU,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    LayerNorm,
    LocallyConnected2D,
    LogSoftmax,
    MaxPool2D,
    Parallel,
    RandomCrop,
    RandomFlip,
    Rescaling,
    Residual,
    Softmax,
    Standardize,
    Tanh,
    ZeroPad2D,
)
from skconvnet.layers.branches import MERGES


def test_single_images_have_a_program_of_their_own_if_the_layers_allow_it():
    def find(shape, layers):
        return build(shape, layers).compile_single_image()

    assert find((3, 7, 6), [Conv2D(4, padding="same"), MaxPool2D(), Dense(5)]).single_image
    assert find((3, 7, 6), [BatchNorm(), Conv2D(4, 3, dilation=2), Tanh(), Flatten(), Dense(5)]).single_image
    assert find((3, 7, 6), [Conv2D(4, stride=2)]) is None
    assert find((5,), [Dense(5)]) is None
    assert find((3, 7, 6), [Rescaling(2), Conv2D(6, groups=3), GELU(), GlobalAvgPool2D()]).single_image
    assert find((3, 7, 6), [Softmax(), MaxPool2D(), LogSoftmax(), Flatten(), LayerNorm(), ELU()]).single_image
    assert find((3, 7, 6), [Standardize(), Conv2D(4), Dropout(), MaxPool2D()]).single_image
    assert find(
        (3, 7, 6), [RandomFlip(), RandomCrop((7, 6), padding=2), Conv2D(4), GaussianNoise()]
    ).single_image
    for layer in (RandomCrop(4), ZeroPad2D(1), LayerNorm(), LocallyConnected2D(2)):
        assert find((3, 7, 6), [layer]) is None
        assert find((3, 7, 6), [Parallel([[], [layer, Dense(3)]], "multiply")]) is None


def test_branches_have_programs_for_single_images():
    conv, pool = Conv2D(3, padding="same"), AvgPool2D(5, stride=1, padding="same")
    branches = [[conv, Tanh()], [pool, Conv2D(3, 5, padding="same")], [BatchNorm()], []]
    inner = Parallel([[conv], [MaxPool2D(3, stride=1, padding="same")]], "max")
    for layer in (
        *(Parallel(branches, merge) for merge in MERGES),
        Residual([conv, Residual([Tanh()])]),
        Parallel([[GlobalAvgPool2D()], [GlobalMaxPool2D(), Dense(5)], [Flatten(), Dense(2)]]),
        Parallel([[inner, inner], [inner], [Residual([inner])]], "add"),
    ):
        network = build((3, 7, 6), [Conv2D(3, padding="same"), layer, Tanh()])
        assert network.compile_single_image().single_image
        X = np.random.default_rng(0).standard_normal((20, 3, 7, 6))
        np.testing.assert_array_equal(network.forward(X[:2]), network.forward(X)[:2])
    # a vector that multiplies a plane
    assert build((3, 7, 6), [Parallel([[], [GlobalAvgPool2D()]], "multiply")]).compile_single_image() is None


def test_a_pixel_that_becomes_an_image_again():
    network = build((16, 8, 8), [AvgPool2D(8), ZeroPad2D(3), Conv2D(16, 3, padding="same")])
    sizes = network.compile_single_image().sizes
    assert sizes["n_transformed_weights"] > 0 and sizes["scratch_vectors"] > 0
    X = np.random.default_rng(0).standard_normal((20, *network.input_shape))
    np.testing.assert_array_equal(network.forward(X[:1], 2), network.forward(X, 2)[:1])
