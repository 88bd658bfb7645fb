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
    without = (RandomCrop(4), ZeroPad2D(1), LayerNorm(), LocallyConnected2D(2))
    for layer in (*without, Residual([Tanh()]), Parallel([[], [Tanh()]])):
        assert find((3, 7, 6), [layer]) is None
    assert find((3, 7, 6), [Parallel([[Conv2D(4), MaxPool2D()]])]).single_image


def test_a_pixel_that_becomes_an_image_again():
    network = build((16, 8, 8), [AvgPool2D(8), ZeroPad2D(3), Conv2D(16, 3, padding="same")])
    sizes = network.compile_single_image().sizes
    assert sizes["n_transformed_weights"] > 0 and sizes["scratch_vectors"] > 0
    X = np.random.default_rng(0).standard_normal((20, *network.input_shape))
    np.testing.assert_array_equal(network.forward(X[:1], 2), network.forward(X, 2)[:1])
