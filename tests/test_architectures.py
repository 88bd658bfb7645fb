"""Networks from the literature: new lists of layers that train on images of their size."""

import numpy as np
import pytest

from skconvnet import ConvNetClassifier, architectures
from skconvnet._network import Network


@pytest.mark.parametrize("name", architectures.__all__)
def test_architectures(name):
    make, shape = getattr(architectures, name), architectures.INPUT_SHAPES[name]
    assert isinstance(make(), list) and make() == make() and make() is not make()
    rng = np.random.default_rng(0)
    X, y = rng.random((20, *shape), dtype=np.float32), np.arange(20) % 10
    clf = ConvNetClassifier(make(), data_format="channels_first", max_iter=1, random_state=0)
    assert clf.fit(X, y).predict_proba(X).shape == (20, 10)


@pytest.mark.parametrize(
    "name, n_parameters",
    [
        ("lenet5", 60806),
        ("annt_mnist", 51002),
        ("annt_cifar10", 145578),
        ("cifar_record", 1971640),
        ("fcn", 264450 + 8 * 129),
        ("inception", 1649402),  # as in the paper
        ("inception_time", 420450 + 8 * 129),
        ("mobilenet", 4231976 - 1025 * 1000 + 1025 * 10),  # the paper's network has 1000 classes
        ("squeezenet", 1235496 - 513 * 1000 + 513 * 10),  # likewise
        ("numpy_cnn", 105634),
        ("kajda_mnist", 3864),
        ("resnet", 272474),
        ("resnet1d", 503106 + 8 * 129),
        ("vgg", 2197706),
    ],
)
def test_parameter_counts(name, n_parameters):
    layers = getattr(architectures, name)()
    assert Network(layers, architectures.INPUT_SHAPES[name], 10).n_parameters == n_parameters


def test_pooling_and_activations_of_the_seeds():
    def describe(layers):
        return [type(stage.layer).__name__ for stage in Network(layers, (1, 32, 32), 10).stages]

    assert describe(architectures.annt_mnist()) == ["Conv2D", "AvgPool2D"] * 2 + ["Conv2D", "Dense"]
    assert describe(architectures.lenet5())[1] == "MaxPool2D"


def test_inception_time_has_the_published_modules():
    layers = architectures.inception_time(channels=3)
    network = Network(layers, (3, 1, 100), 2)
    shapes = network.weights
    assert shapes["0.0.0.0.weight"].shape == (32, 3, 1)  # the bottleneck
    assert [shapes[f"0.6.0.1.{k}.0.weight"].shape for k in range(3)] == [(32, 32, n) for n in (40, 20, 10)]
    assert shapes["0.6.1.1.weight"].shape == (32, 128, 1) and shapes["2.shortcut.0.weight"].shape == (
        128,
        128,
        1,
    )
    kinds = [type(layer).__name__ for layer in architectures.inception_time(depth=4)]
    assert kinds == ["Residual", "ReLU", "Parallel", "BatchNorm", "ReLU", "GlobalAvgPool1D"]
    assert network.output_shape == (2,) and Network(layers, (3, 1, 7), 2).output_shape == (2,)


def test_a_narrow_mobilenet():
    def count(width):
        return Network(architectures.mobilenet(width=width), (3, 32, 32), 10).n_parameters

    # a convolution of 1x1 pixels has the square of the factor
    assert 0.25 < count(0.5) / count(1) < 0.27
    with pytest.raises(ValueError, match="at least 1, got 0"):
        architectures.mobilenet(width=0.01)
