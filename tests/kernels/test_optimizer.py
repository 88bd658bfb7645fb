"""Optimizers' steps against their reference implementation."""

import dataclasses

import numpy as np
import pytest
import reference

from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet.layers import (
    Dense,
)
from skconvnet.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, RMSprop


def step_by_reference(optimizer, params, gradient, state, rate, t):
    """Return the parameters and state after a step of the reference implementation."""
    settings = [getattr(optimizer, f.name) for f in dataclasses.fields(optimizer)]
    if isinstance(optimizer, Adam):
        params, *state = reference.adam(params, gradient, *state, rate, *settings, t)
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
