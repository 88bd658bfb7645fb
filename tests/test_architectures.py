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
