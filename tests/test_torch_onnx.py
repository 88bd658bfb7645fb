"""Networks of PyTorch that are exported to ONNX, by both exporters, and read here: outputs, and one more step."""

import copy
import warnings

import numpy as np
import pytest
from torch_reference import torch

from skconvnet import ConvNetClassifier, ConvNetRegressor, from_onnx
from skconvnet.layers import BatchNorm, Conv1D, Dropout, Residual
from skconvnet.optimizers import SGD

nn = torch.nn


class Block(nn.Module):
    """A residual connection with batch normalisation, and a projection if the size changes."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, 1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, 1, 1, bias=False),
            nn.BatchNorm2d(filters),
        )
        projection = nn.Sequential(
            nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)
        )
        self.shortcut = nn.Identity() if stride == 1 else projection

    def forward(self, x):
        return torch.relu(self.layers(x) + self.shortcut(x))


class ResNet(nn.Module):
    """A stem, two blocks, the average of all pixels, and a view as vectors."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.Sequential(Block(8, 8, 1), Block(8, 12, 2))
        self.pool, self.output = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 4)

    def forward(self, x):
        x = self.pool(self.blocks(self.stem(x)))
        return self.output(x.view(x.size(0), -1))


def make_vgg():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=(1, 0), dilation=(1, 2), groups=2),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(96, 20),
        nn.ELU(),
        nn.Dropout(0.25),
        nn.Linear(20, 4),
    )


def make_activations():
    inner = [
        nn.GELU(),
        nn.SiLU(),
        nn.Mish(),
        nn.Hardswish(),
        nn.ReLU6(),
        nn.SELU(),
    ]
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        *inner,
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.Tanh(),
        nn.Flatten(1),
        nn.Linear(150, 4),
    )


def make_signals():
    return nn.Sequential(
        nn.Conv1d(3, 8, 5, stride=2, padding=2),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(8, 6, 3, dilation=2),
        nn.GELU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )


NETWORKS = {
    "vgg": (make_vgg, (3, 12, 12)),
    "resnet": (ResNet, (3, 12, 12)),
    "activations": (make_activations, (3, 12, 12)),
    "signals": (make_signals, (3, 40)),
}


@pytest.fixture(params=["trace", "dynamo", "dynamo, any batch", "trace, any batch"])
def exporter(request):
    """The options of torch.onnx.export."""
    dynamo = request.param.startswith("dynamo")
    if dynamo:
        pytest.importorskip("onnxscript")
    if "any" not in request.param:
        return {"dynamo": dynamo}
    shapes = (
        {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    )
    return {"dynamo": dynamo, **shapes}


def make(name):
    """Return a network whose parameters and running moments are drawn at random."""
    torch.manual_seed(0)
    factory, shape = NETWORKS[name]
    network = factory()
    for module in network.modules():
        if hasattr(module, "running_var"):
            for values in (module.weight.data, module.running_var):
                values.uniform_(0.5, 1.5)
            for values in (module.bias.data, module.running_mean):
                values.normal_(0, 0.3)
    return network.eval(), shape


def export(network, x, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), str(path), input_names=["x"], verbose=False, **options)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs(tmp_path, name, exporter):
    network, shape = make(name)
    x = torch.randn(17, *shape)
    path = export(network, x[:2], tmp_path / "model.onnx", **exporter)
    clf = from_onnx(path)
    with torch.no_grad():
        expected = network(x).numpy()
    np.testing.assert_allclose(clf.decision_function(x.numpy()), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        from_onnx(path, ConvNetRegressor()).predict(x.numpy()), expected, rtol=0, atol=1e-5
    )
    assert isinstance(clf, ConvNetClassifier) and clf.classes_.tolist() == [0, 1, 2, 3]
    if name == "signals":
        assert isinstance(clf.layers[0], Conv1D)


@pytest.mark.parametrize("name", ["vgg", "activations"])
def test_a_step_of_training(tmp_path, name):
    """The weights are PyTorch's after a step, too."""
    network, shape = make(name)
    x, y = torch.randn(24, *shape), torch.arange(24) % 4
    path = export(network, x[:2], tmp_path / "model.onnx", dynamo=False)
    options = {"optimizer": SGD(), "learning_rate": 0.1, "batch_size": 24}
    clf = from_onnx(path, ConvNetClassifier(**options)).partial_fit(x.numpy(), y.numpy())
    assert not any(isinstance(layer, Dropout) for layer in clf.layers)  # evaluation leaves it out
    before = copy.deepcopy(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(network(x), y).backward()
    optimizer.step()
    with torch.no_grad():
        expected, old = network(x).numpy(), before(x).numpy()
    np.testing.assert_allclose(clf.decision_function(x.numpy()), expected, rtol=0, atol=1e-5)
    assert abs(expected - old).max() > 0.001


@pytest.mark.parametrize("name", ["resnet", "signals"])
def test_batch_normalisation_that_is_kept(tmp_path, name):
    """As the docstring of `from_onnx` says; one step of training moves its statistics as PyTorch does."""
    network, shape = make(name)
    x, y = torch.randn(24, *shape), torch.arange(24) % 4
    options = {"dynamo": False, "training": torch.onnx.TrainingMode.PRESERVE}
    path = export(network, x[:2], tmp_path / "model.onnx", **options)
    clf = from_onnx(path, ConvNetClassifier(optimizer=SGD(), learning_rate=0.1, batch_size=24))
    assert clf.layers[1] == BatchNorm()
    assert (name == "resnet") == any(isinstance(layer, Residual) for layer in clf.layers)
    with torch.no_grad():
        expected = network(x).numpy()
    np.testing.assert_allclose(clf.decision_function(x.numpy()), expected, rtol=0, atol=1e-5)
    clf.partial_fit(x.numpy(), y.numpy())
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(network(x), y).backward()
    optimizer.step()
    network.eval()
    with torch.no_grad():
        expected = network(x).numpy()
    np.testing.assert_allclose(clf.decision_function(x.numpy()), expected, rtol=0, atol=1e-4)
