"""Optimizers' steps against their reference implementation."""

import dataclasses

import numpy as np
import pytest
import reference

from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet.layers import Conv2D, Dense, LayerNorm, LocallyConnected2D, Residual
from skconvnet.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, Muon, RMSprop


def step_by_reference(optimizer, params, gradient, state, rate, t):
    """Return the parameters and state after a step of the reference implementation."""
    settings = [getattr(optimizer, f.name) for f in dataclasses.fields(optimizer)]
    if isinstance(optimizer, Adam):
        params, *state = reference.adam(params, gradient, state, rate, *settings, t)
    elif isinstance(optimizer, (Adagrad, RMSprop, Adadelta)):
        step = getattr(reference, type(optimizer).__name__.lower())
        params, *state = step(params, gradient, *state, rate, *settings)
    else:
        step = reference.sgd if isinstance(optimizer, SGD) else reference.lion
        params, state[0] = step(params, gradient, state[0], rate, *settings)
    return params, state


@pytest.mark.parametrize("weight_decay, clip_norm", [(0.0, None), (0.3, 0.2)])
@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(),
        SGD(momentum=0.9),
        SGD(momentum=0.8, nesterov=True),
        Adagrad(),
        Adagrad(momentum=0.7, epsilon=1e-3),
        Adadelta(),
        Adadelta(rho=0.8, epsilon=1e-2),
        RMSprop(),
        RMSprop(rho=0.95, momentum=0.5, epsilon=1e-3),
        Adam(),
        Adam(beta_1=0.8, beta_2=0.9, epsilon=1e-3),
        AdamW(),
        Lion(),
        Lion(beta_1=0.5, beta_2=0.8),
    ],
    ids=repr,
)
def test_optimizers(isa, dtype, optimizer, weight_decay, clip_norm):
    # more parameters than a thread updates at a time, several gradient shards, a short last batch
    rng = np.random.RandomState(5)
    layers = [Dense(61, learning_rate_factor=(0.5, 3)), Dense(30)]
    network = Network(layers, (19,), 3, dtype)
    network.initialize(rng)
    network.params += 0.01  # so that biases are not 0, and would show decay
    X = rng.standard_normal((70, 19)).astype(dtype)
    target, weight = rng.randint(0, 3, 70), rng.rand(70) + 0.5
    params, state = network.params.astype(np.float64), np.zeros((2, network.n_params))
    decay, rate = np.zeros((2, network.n_params))
    rate[:] = 0.01
    for key, part in network.split(decay).items():
        part[...] = weight_decay * key.endswith(".weight")
    for key, factor in (("0.weight", 0.5), ("0.bias", 3)):
        network.split(rate)[key][...] *= factor
    trainer = Trainer(network, optimizer, rng)
    run_epoch = trainer.prepare(
        TrainingData(X, target, weight), StepSettings(32, 0.01, False, 2, weight_decay, clip_norm)
    )
    t = 0
    for _ in range(2):
        exact = Network(layers, (19,), 3, np.float64)
        for start in (0, 32, 64):
            exact.params = params
            batch = slice(start, start + 32)
            _, _, gradient = exact.loss(X[batch].astype(np.float64), target[batch], weight[batch])
            t += 1
            if clip_norm is not None:
                assert np.linalg.norm(gradient) > clip_norm
                gradient = reference.clip(gradient, clip_norm)
            if isinstance(optimizer, (AdamW, Lion)):
                params = params - rate * decay * params
            else:
                gradient = gradient + decay * params
            params, state = step_by_reference(optimizer, params, gradient, state, rate, t)
        run_epoch()
        assert trainer.steps[0] == t
        tolerance = 1e-12 if dtype == np.float64 else 2e-4
        np.testing.assert_allclose(network.params, params, rtol=tolerance, atol=tolerance)


MUON_LAYERS = [
    Conv2D(7, (2, 3), learning_rate_factor=(0.5, 2)),  # 7 rows, 12 columns
    LayerNorm(),
    Residual([Conv2D(7, padding="same", bias=False)]),
    Conv2D(14, groups=7),
    Conv2D(4, 1, connections=np.tri(4, 14, dtype=bool)),
    LocallyConnected2D(2, 2),
    Dense(50, activation="tanh"),  # 50 rows, 24 columns
    Dense(1),
    Dense(3),
]
MATRICES = ["0.weight", "2.0.weight", "6.weight", "7.weight", "8.weight"]


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(
    "optimizer",
    [
        Muon(),
        Muon(momentum=0.6, normalize=True, iterations=3, other=SGD(momentum=0.8, nesterov=True)),
        Muon(momentum=0, nesterov=False, iterations=1, other="sgd"),
    ],
    ids=repr,
)
def test_muon(isa, dtype, optimizer, n_threads):
    """Matrices move by Muon, the output layer and all other parameters by the other optimizer."""
    rng = np.random.RandomState(3)
    network = Network(MUON_LAYERS, (2, 7, 8), 3, dtype)
    network.initialize(rng)
    X, target = rng.standard_normal((40, 2, 7, 8)).astype(dtype), rng.randint(0, 3, 40)
    exact = Network(MUON_LAYERS, (2, 7, 8), 3, np.float64)
    params, state = network.params.astype(np.float64), np.zeros((2, network.n_params))
    trainer = Trainer(network, optimizer, rng)
    settings = StepSettings(40, 0.02, False, n_threads, weight_decay=0.1)
    run_epoch = trainer.prepare(TrainingData(X, target, np.ones(40)), settings)
    decoupled = not isinstance(optimizer.other, SGD) and optimizer.other != "sgd"
    for t in range(1, 4):
        exact.params = params
        _, _, gradient = exact.loss(X.astype(np.float64), target)
        before, velocity = params.copy(), state[0].copy()
        moved, decay = params, np.zeros(network.n_params)
        for key, part in network.split(decay).items():
            part[...] = 0.1 * (key.endswith("weight") and not key.startswith("1."))
        rate = np.full(network.n_params, 0.02)
        network.split(rate)["0.weight"][...] *= 0.5
        network.split(rate)["0.bias"][...] *= 2
        other = {"adamw": AdamW(), "sgd": SGD()}.get(optimizer.other, optimizer.other)
        if decoupled:
            moved, used = moved - rate * decay * moved, gradient
        else:
            used = gradient + decay * moved
        moved, state = step_by_reference(other, moved, used, state, rate, t)
        parts = [network.split(a) for a in (before, gradient, velocity, rate, decay)]
        for key in MATRICES:
            weight, g, v, r, d = (part[key] for part in parts)
            r, d = r.flat[0], d.flat[0]
            settings = optimizer.momentum, optimizer.nesterov, optimizer.iterations, optimizer.normalize
            if optimizer.normalize:  # decay before or after is the same
                new, v = reference.muon(weight, g, v, r, *settings)
                new -= r * d * weight * np.sqrt(len(weight)) / np.sqrt((weight**2).sum())
            else:
                new, v = reference.muon(weight - r * d * weight, g, v, r, *settings)
            network.split(moved)[key][...] = new
            network.split(state[0])[key][...] = v
        params = moved
        run_epoch()
        tolerance = 1e-10 if dtype == np.float64 else 3e-3
        for (key, part), expected in zip(network.weights.items(), network.split(moved).values()):
            np.testing.assert_allclose(part, expected, rtol=tolerance, atol=tolerance, err_msg=key)


def test_muon_does_not_depend_on_threads(dtype):
    """Also for a matrix of fewer blocks of rows than threads."""
    networks = []
    for n_threads in (1, 2, 5, 16):
        rng = np.random.RandomState(0)
        network = Network([Conv2D(10), Dense(33), Dense(2)], (3, 9, 9), 4, dtype)
        network.initialize(rng)
        X, target = rng.standard_normal((50, 3, 9, 9)).astype(dtype), rng.randint(0, 4, 50)
        trainer = Trainer(network, Muon(normalize=True), rng)
        trainer.prepare(TrainingData(X, target, np.ones(50)), StepSettings(16, 0.01, True, n_threads))()
        networks.append(network)
    for network in networks[1:]:
        np.testing.assert_array_equal(network.params, networks[0].params)


def test_muon_makes_singular_values_equal():
    """Those of the step of a random gradient are within [0.6, 1.3] of its factor, for wide and tall matrices."""
    rng = np.random.RandomState(0)
    for shape in ((20, 90), (90, 20), (16, 16), (1, 30)):
        step, _ = reference.muon(
            np.zeros(shape), rng.standard_normal(shape), np.zeros(shape), 1, 0.9, True, 8, False
        )
        values = np.linalg.svd(step / (0.2 * np.sqrt(max(shape))), compute_uv=False)
        assert 0.6 < values.min() and values.max() < 1.3


def test_wrong_settings_of_muon():
    for wrong, message in (
        ({"iterations": 0}, "iterations must be an int from 1 to 20, got 0"),
        ({"normalize": 1}, "normalize must be True or False, got 1"),
        ({"other": "muon"}, "other moves what Muon does not"),
        ({"other": "adm"}, "unknown optimizer 'adm'"),
        ({"momentum": 1}, r"momentum must be a number in \[0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Muon(**wrong)
