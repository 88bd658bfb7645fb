"""Whole networks against PyTorch, in float64: outputs, all gradients, optimizers, schedules."""

from types import FunctionType

import numpy as np
import pytest
from torch_reference import run_torch, torch

from skconvnet import ConvNetClassifier
from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet.architectures import annt_mnist
from skconvnet.layers import (
    ELU,
    GELU,
    Arctan,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    LayerNorm,
    LeakyReLU,
    LocallyConnected2D,
    LogSoftmax,
    MaxPool2D,
    Parallel,
    PReLU,
    ReLU,
    Rescaling,
    Residual,
    Softmax,
    Standardize,
    Tanh,
    UpSample2D,
    ZeroPad2D,
)
from skconvnet.losses import Objective, Quantile
from skconvnet.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Muon, RMSprop
from skconvnet.schedules import (
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    OneCycle,
    ReduceOnPlateau,
    StepDecay,
    Warmup,
)

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
    "groups, smooth activations, layer normalisation": (
        (4, 9, 8),
        [
            Rescaling(0.5, offset=0.1),
            Conv2D(8, groups=2, padding="same", activation="gelu"),
            LayerNorm(),
            Conv2D(8, (3, 2), groups=8, stride=2, activation=ELU(0.7)),
            GELU(),
            LayerNorm(scale=False, epsilon=0.01),
            Dense(12, activation="softplus"),
            Arctan(),
        ],
    ),
    "softmax anywhere, zero padding, global pooling": (
        (3, 8, 7),
        [
            Conv2D(5, activation="softmax"),
            ZeroPad2D(((1, 0), (2, 1))),
            Conv2D(6, padding=1, activation="arctan"),
            LogSoftmax(),
            Conv2D(7, 2, activation="softplus"),
            GlobalAvgPool2D(),
            LayerNorm(),
            Softmax(),
        ],
    ),
    "larger images, learnt slopes": (
        (3, 8, 7),
        [
            Conv2D(5, stride=2),
            PReLU(),
            Conv2DTranspose(6, 4, stride=2, padding=1, activation="tanh"),
            UpSample2D((2, 1)),
            Conv2DTranspose(4, (3, 2), groups=2, dilation=2, bias=False),
            UpSample2D((1, 2), "bilinear"),
            Dense(9),
            PReLU(),
        ],
    ),
    "weights that are not shared": (
        (3, 8, 7),
        [
            LocallyConnected2D(5, activation="tanh"),
            MaxPool2D(),
            LocallyConnected2D(6, 2, stride=(1, 2), padding="same", bias=False, activation="elu"),
            GlobalMaxPool2D(),
        ],
    ),
    "residual connections": (
        (3, 8, 8),
        [
            Standardize(),
            Conv2D(6, padding="same", bias=False),
            BatchNorm(),
            ReLU(),
            Residual(
                [
                    Conv2D(6, padding=1, bias=False),
                    BatchNorm(),
                    ReLU(),
                    Conv2D(6, padding=1, bias=False),
                    BatchNorm(),
                ]
            ),
            ReLU(),
            Residual(
                [Conv2D(9, padding="same", stride=2, bias=False), BatchNorm(), Tanh(), Conv2D(9, 1)],
                shortcut=[Conv2D(9, 1, stride=2, bias=False), BatchNorm(scale=False)],
            ),
            Residual([Tanh(), Conv2D(12, padding="same")], name="projected"),
            GlobalAvgPool2D(),
        ],
    ),
    "branches": (
        (3, 8, 8),
        [
            Conv2D(6, padding="same", activation="relu"),
            Parallel(
                [
                    [Conv2D(4, 1, bias=False), BatchNorm(), ReLU()],
                    [Conv2D(3, 1), Tanh(), Parallel([[Conv2D(4, (1, 3), padding="same")], [Conv2D(2, 1)]])],
                    [MaxPool2D(3, stride=1, padding="same"), Conv2D(5, 1)],
                    [],
                ],
                name="mixed",
            ),
            Parallel(
                [[], [GlobalAvgPool2D(), Dense(4, activation="relu"), Dense(21, activation="sigmoid")]],
                "multiply",
            ),
            Residual([Conv2D(21, padding="same"), Parallel([[GlobalAvgPool2D()], [Tanh()]], "multiply")]),
            Parallel(
                [[Conv2D(7, stride=2, bias=False), BatchNorm()], [AvgPool2D(3, stride=2), Conv2D(7, 1)]],
                "average",
            ),
            Parallel([[Conv2D(5, 1)], [Conv2D(5, padding="same")], [Conv2D(5, 1), Tanh()]], "max"),
            Parallel([[GlobalAvgPool2D()], [GlobalMaxPool2D()]], name="pools"),
        ],
    ),
    "dense": ((10,), [Dense(33, activation="relu"), Dense(12, activation="tanh")]),
}


@pytest.fixture(params=NETWORKS)
def pair(request):
    """A network, PyTorch's copies of its parameters, and data."""
    return make_pair(*NETWORKS[request.param])


def make_pair(shape, layers):
    """A network, PyTorch's copies of its parameters, and data."""
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


def focal_loss(z, t, gamma=2):
    """The focal loss of the softmax, by its formula: PyTorch has none."""
    log_p = F.log_softmax(z, dim=1)
    return -(t * (1 - log_p.exp()) ** gamma * log_p).sum(dim=1).mean()


@pytest.mark.parametrize("level", [0.1, 0.75])
def test_quantile(level):
    rng = np.random.RandomState(0)
    outputs, target = rng.standard_normal((50, 7)), rng.standard_normal((50, 7))
    z, t = torch.tensor(outputs, requires_grad=True), torch.tensor(target)
    mean = torch.maximum(level * (t - z), (1 - level) * (z - t)).mean()
    mean.backward()
    network = Network([], (7,), dtype=np.float64)
    ours, dz, _ = network.loss(outputs, target, loss=Objective(Quantile(level)))
    assert abs(ours - mean.item()) <= 1e-13 * mean.item()
    assert_close(dz, z.grad, 1e-13)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [1, 1e4])
@pytest.mark.parametrize(
    "name, theirs",
    [
        ("cross_entropy", F.cross_entropy),
        ("binary_cross_entropy", F.binary_cross_entropy_with_logits),
        ("squared_error", F.mse_loss),
        ("absolute_error", F.l1_loss),
        ("huber", F.huber_loss),
        ("poisson", F.poisson_nll_loss),
        ("quantile", lambda z, t: F.l1_loss(z, t) / 2),
        ("cosine", lambda z, t: 1 - F.cosine_similarity(z, t).mean()),
        ("focal", lambda z, t: focal_loss(z, t)),
    ],
)
def test_losses(name, theirs, scale, smoothing):
    rng = np.random.RandomState(0)
    scale = min(scale, 10) if name == "poisson" else scale  # e^1e4 is infinite
    outputs, target = rng.standard_normal((50, 7)) * scale, rng.standard_normal((50, 7))
    options = {}
    if name == "cross_entropy":
        target, options = rng.randint(0, 7, 50), {"label_smoothing": smoothing}
        expected = torch.tensor(target)
    elif name == "focal":
        target = rng.randint(0, 7, 50)
        expected = torch.eye(7, dtype=torch.float64)[target] * (1 - smoothing) + smoothing / 7
    elif name == "binary_cross_entropy":
        target = rng.randint(0, 2, (50, 7)).astype(float)
        expected = torch.tensor(target * (1 - smoothing) + smoothing / 2)
    else:
        expected = torch.tensor(target * (1 - smoothing) + smoothing / 7)
    z = torch.tensor(outputs, requires_grad=True)
    mean = theirs(z, expected, **options)
    mean.backward()
    ours, dz, _ = Network([], (7,), dtype=np.float64).loss(outputs, target, loss=Objective(name, smoothing))
    assert abs(ours - mean.item()) <= 1e-13 * mean.item()
    assert_close(dz, z.grad, 1e-13)


OPTIMIZERS = {
    "sgd": (SGD(), torch.optim.SGD, {}),
    "momentum": (SGD(momentum=0.9), torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (SGD(momentum=0.9, nesterov=True), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adagrad": (Adagrad(), torch.optim.Adagrad, {}),
    "adadelta": (Adadelta(rho=0.8, epsilon=1e-4), torch.optim.Adadelta, {"rho": 0.8, "eps": 1e-4}),
    "rmsprop": (RMSprop(), torch.optim.RMSprop, {"alpha": 0.9}),
    "rmsprop, momentum": (
        RMSprop(rho=0.8, momentum=0.5),
        torch.optim.RMSprop,
        {"alpha": 0.8, "momentum": 0.5},
    ),
    "adam": (Adam(), torch.optim.Adam, {}),
    "adamw": (AdamW(beta_1=0.8, beta_2=0.99), torch.optim.AdamW, {"betas": (0.8, 0.99)}),
}


def train_torch(network, parameters, X, y, optimizer, n_epochs):
    """Train PyTorch's copy of a network by batches of 32, the last one short."""
    for _ in range(n_epochs):
        for start in range(0, len(X), 32):
            optimizer.zero_grad()
            batch = slice(start, start + 32)
            outputs = run_torch(network, parameters, torch.tensor(X[batch]), training=True)
            F.cross_entropy(outputs, torch.tensor(y[batch])).backward()
            optimizer.step()


@pytest.mark.parametrize("name", ["adam", "momentum", "nesterov"])
def test_three_epochs(pair, name):
    network, parameters, X, y = pair
    ours, theirs, options = OPTIMIZERS[name]
    run_epoch = Trainer(network, ours, np.random.RandomState(0)).prepare(
        TrainingData(X, y, np.ones(70)), StepSettings(32, 0.01, False, 2)
    )
    for _ in range(3):
        run_epoch()
    optimizer = theirs([p for p in parameters.values() if p.requires_grad], lr=0.01, **options)
    train_torch(network, parameters, X, y, optimizer, 3)
    for key, weight in network.weights.items():
        assert_close(weight, parameters[key], 1e-9)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps(name, weight_decay):
    shape, layers = (2, 6, 6), [Conv2D(5, activation="tanh"), BatchNorm(), Dense(7, activation="tanh")]
    network, parameters, X, y = make_pair(shape, layers)
    ours, theirs, options = OPTIMIZERS[name]
    trainer = Trainer(network, ours, np.random.RandomState(0))
    run_epoch = trainer.prepare(
        TrainingData(X[:64], y[:64], np.ones(64)), StepSettings(32, 0.01, False, 2, weight_decay)
    )
    for _ in range(25):
        run_epoch()
    assert trainer.steps[0] == 50
    learnt = {key: p for key, p in parameters.items() if p.requires_grad}
    groups = [
        {"params": [p for key, p in learnt.items() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for key, p in learnt.items() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = theirs(groups, lr=0.01, **options)
    train_torch(network, parameters, X[:64], y[:64], optimizer, 25)
    for key, weight in network.weights.items():
        assert_close(weight, parameters[key], 1e-9)


@pytest.mark.parametrize("features, units", [(30, 5), (4, 30)])
def test_muon(features, units):
    """A step on a dense layer; PyTorch iterates in bfloat16, whose numbers have three digits."""
    network, parameters, X, y = make_pair((features,), [Dense(units, bias=False)])
    before = network.weights["0.weight"].copy()
    trainer = Trainer(network, Muon(momentum=0.9), np.random.RandomState(0))
    data = TrainingData(X[:64], y[:64], np.ones(64))
    run_epoch = trainer.prepare(data, StepSettings(64, 0.01, False, 2, 0.1))
    optimizer = torch.optim.Muon(
        [parameters["0.weight"]], lr=0.01, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw"
    )
    run_epoch()
    outputs = run_torch(network, parameters, torch.tensor(X[:64]), training=True)
    F.cross_entropy(outputs, torch.tensor(y[:64])).backward()
    optimizer.step()
    ours = network.weights["0.weight"] - before
    theirs = parameters["0.weight"].detach().numpy() - before
    assert np.linalg.norm(ours - theirs) < 0.03 * np.linalg.norm(theirs)


def test_weights_of_a_sequential_there_and_back():
    nn, rng = torch.nn, np.random.RandomState(0)
    torch.manual_seed(0)
    X, y = rng.rand(30, 8, 8, 3).astype(np.float32), np.arange(30) % 5
    images = torch.tensor(X).permute(0, 3, 1, 2)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 12),
        nn.Tanh(),
        nn.Linear(12, 5),
    )
    model(images)  # moves the running moments
    layers = [
        Conv2D(6, padding=1, bias=False),
        BatchNorm(),
        ReLU(),
        MaxPool2D(2),
        Flatten(),
        Dense(12),
        Tanh(),
    ]
    clf = ConvNetClassifier(layers, max_iter=1).fit(X, y)
    trained = clf.predict_proba(X)

    def rename(key):
        return key.replace("output.", "7.")

    state = model.state_dict()
    theirs = {key: state[rename(key)] for key in clf.network_.weights}
    ours = {rename(key): torch.tensor(value) for key, value in clf.network_.weights.items()}
    clf.network_.set_weights(theirs)
    with torch.no_grad():
        assert_close(clf.predict_proba(X), model.eval()(images).softmax(1), 1e-6)
        model.load_state_dict({**state, **ours})
        assert_close(trained, model(images).softmax(1), 1e-6)


T = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (StepDecay(0.5, 7, 0.3), lambda o: T.StepLR(o, 7, 0.3)),
        (ExponentialDecay(0.5, 10, 0.2), lambda o: T.ExponentialLR(o, 0.2**0.1)),
        (CosineDecay(0.5, 39), lambda o: T.CosineAnnealingLR(o, 39)),
        (CosineDecay(0.5, 50, 0.1), lambda o: T.CosineAnnealingLR(o, 50, 0.05)),
        (LinearDecay(0.5, 30, 0.1), lambda o: T.LinearLR(o, 1, 0.1, 30)),
        (OneCycle(0.5, 40), lambda o: T.OneCycleLR(o, 0.5, 40)),
        (
            OneCycle(0.5, 45, 0.2, 10, 100),
            lambda o: T.OneCycleLR(o, 0.5, 45, None, None, 0.2, "cos", True, 0.85, 0.95, 10, 100),
        ),
        (
            Warmup(CosineDecay(0.5, 30), 8, 0.2),
            lambda o: T.SequentialLR(o, [T.LinearLR(o, 0.2, 1, 8), T.CosineAnnealingLR(o, 30)], [8]),
        ),
        (Warmup(0.5, 50), lambda o: T.LinearLR(o, 0.1, 1, 50)),
    ],
    ids=lambda value: "theirs" if isinstance(value, FunctionType) else repr(value),
)
@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
def test_schedules(ours, theirs):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule, expected = theirs(optimizer), []
    for _ in range(38):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(ours.rates(np.arange(38)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"factor": 0.5, "patience": 2},
        {"factor": 0.3, "patience": 0, "cooldown": 3, "threshold": 0.05},
        {"factor": 0.1, "patience": 1, "threshold": 0.0, "min_learning_rate": 1e-3},
    ],
    ids=str,
)
def test_plateau(options):
    ours = ReduceOnPlateau(0.5, **options)
    options = {"min_lr" if name == "min_learning_rate" else name: v for name, v in options.items()}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    theirs, memory = T.ReduceLROnPlateau(optimizer, **options), ours.start()
    losses = 1 / np.arange(1, 61) ** 0.3 + np.random.default_rng(0).normal(0, 0.1, 60) ** 2
    for loss in losses:
        theirs.step(loss)
        memory = ours.follow(memory, loss)
        np.testing.assert_allclose(ours.rates(np.arange(3), memory), optimizer.param_groups[0]["lr"])
    assert memory.rate < 0.2  # it fell more than once
