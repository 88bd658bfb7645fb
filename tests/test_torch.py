"""Whole networks against PyTorch, in float64: outputs, all gradients, three epochs of Adam."""

import numpy as np
import pytest

from skconvnet._network import Network
from skconvnet._training import Trainer
from skconvnet.architectures import annt_mnist
from skconvnet.layers import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    LeakyReLU,
    MaxPool2D,
    ReLU,
    Sigmoid,
    Tanh,
)
from skconvnet.layers.activation import resolve_activation
from skconvnet.layers.window import pad_image
from skconvnet.optimizers import SGD, Adam

torch = pytest.importorskip("torch", reason="PyTorch (torch==2.13.0) is not installed")
F = torch.nn.functional

NETWORKS = {
    "annt_mnist": ((1, 32, 32), annt_mnist()),
    "same, max pooling, dense": (
        (3, 12, 12),
        [
            Conv2D(8, 5, padding="same"),
            ReLU(),
            MaxPool2D(),
            Conv2D(8, padding="same", activation="tanh"),
            MaxPool2D(3, stride=2),
            Flatten(),
            Dense(20, activation="sigmoid"),
        ],
    ),
    "strides, dilation, rectangles": (
        (2, 13, 11),
        [
            Conv2D(7, (3, 4), stride=(2, 1), padding=((1, 2), (0, 3)), activation="leaky_relu"),
            AvgPool2D((2, 3), stride=(1, 2), padding=1),
            Conv2D(5, 2, dilation=(1, 2), bias=False),
            LeakyReLU(0.3),
            Dense(17),
            Tanh(),
        ],
    ),
    "batch normalisation": (
        (3, 8, 8),
        [
            Conv2D(6, padding="same", bias=False),
            BatchNorm(momentum=0.8),
            ReLU(),
            MaxPool2D(),
            BatchNorm(scale=False, center=False, epsilon=0.01),
            Dense(9, bias=False),
            BatchNorm(center=False),
            Tanh(),
        ],
    ),
    "dense": ((10,), [Dense(33, activation="relu"), Dense(12, activation="tanh")]),
}


def as_sides(padding):
    """PyTorch's order: left, right, top, bottom."""
    (top, bottom), (left, right) = padding
    return left, right, top, bottom


def as_pair(value):
    return value if isinstance(value, tuple) else (value, value)


def activate(layer, x):
    if isinstance(layer, LeakyReLU):
        return F.leaky_relu(x, layer.slope)
    functions = {ReLU: F.relu, Sigmoid: torch.sigmoid, Tanh: torch.tanh}
    return functions[type(layer)](x) if type(layer) in functions else x


def run_torch(network, parameters, x, training):
    """The same network, written with PyTorch's functions."""
    for stage in network.stages:
        layer, key = stage.layer, stage.key
        weight, bias = parameters.get(f"{key}.weight"), parameters.get(f"{key}.bias")
        if isinstance(layer, Conv2D):
            kernel, stride, dilation = map(as_pair, (layer.kernel_size, layer.stride, layer.dilation))
            span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
            sides = as_sides(pad_image(stage.input_shape, span, stride, layer.padding))
            if layer.connections is not None:
                weight = weight * torch.tensor(layer.connections)[:, :, None, None]
            x = F.conv2d(F.pad(x, sides), weight, bias, stride, 0, dilation)
        elif isinstance(layer, Dense):
            x = F.linear(x.flatten(1), weight, bias)
        elif isinstance(layer, BatchNorm):
            running = (parameters[f"{key}.running_{name}"] for name in ("mean", "var"))
            x = F.batch_norm(x, *running, weight, bias, training, 1 - layer.momentum, layer.epsilon)
        elif isinstance(layer, Flatten):
            x = x.flatten(1)
        elif isinstance(layer, MaxPool2D):
            x = F.max_pool2d(x, layer.pool_size, layer.stride)
        elif isinstance(layer, AvgPool2D):
            x = F.avg_pool2d(
                x,
                layer.pool_size,
                layer.stride,
                0 if layer.padding == "valid" else layer.padding,
                count_include_pad=False,
            )
        else:
            x = activate(layer, x)
        if isinstance(layer, (Conv2D, Dense)):
            x = activate(resolve_activation(key, layer.activation), x)
    return x


@pytest.fixture(params=NETWORKS)
def pair(request):
    """A network, PyTorch's copies of its parameters, and data."""
    shape, layers = NETWORKS[request.param]
    network = Network(layers, shape, 10, np.float64)
    rng = np.random.RandomState(0)
    network.initialize(rng)
    parameters = {
        key: torch.tensor(value.copy(), requires_grad=".running" not in key)
        for key, value in network.weights.items()
    }
    return network, parameters, rng.standard_normal((70, *shape)), rng.randint(0, 10, 70)


def assert_close(ours, theirs, tolerance):
    theirs = theirs.detach().numpy()
    assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs)


def test_forward_and_gradients(pair):
    network, parameters, X, y = pair
    x = torch.tensor(X, requires_grad=True)
    assert_close(network.forward(X), run_torch(network, parameters, x, training=False), 1e-13)
    outputs = run_torch(network, parameters, x, training=True)
    loss = F.cross_entropy(outputs, torch.tensor(y))
    loss.backward()
    our_loss, dx, dparams = network.loss(X, y)
    assert abs(our_loss - loss.item()) <= 1e-13 * loss.item()
    assert_close(dx, x.grad, 1e-12)
    for key, part in network.split(dparams).items():
        assert_close(part, parameters[key].grad, 1e-12)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (Adam(), lambda p: torch.optim.Adam(p, lr=0.01)),
        (SGD(0.9), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
        (SGD(0.9, True), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True)),
    ],
    ids=["adam", "momentum", "nesterov"],
)
def test_three_epochs(pair, ours, theirs):
    network, parameters, X, y = pair
    trainer = Trainer(network, ours, np.random.RandomState(0))
    run_epoch = trainer.prepare(X, y, np.ones(70), 32, 0.01, False, 2)
    optimizer = theirs([p for p in parameters.values() if p.requires_grad])
    for _ in range(3):
        run_epoch()
        for start in (0, 32, 64):  # the last batch is short
            optimizer.zero_grad()
            batch = slice(start, start + 32)
            outputs = run_torch(network, parameters, torch.tensor(X[batch]), training=True)
            F.cross_entropy(outputs, torch.tensor(y[batch])).backward()
            optimizer.step()
    for key, weight in network.weights.items():
        assert_close(weight, parameters[key], 1e-9)
