"""Stages: a tree of layers with the offsets of their parameters."""

import numpy as np

from skconvnet._network import Network
from skconvnet._stages import count_elements
from skconvnet.layers import BatchNorm, Conv2D, Dense, Parallel, ReLU, Residual

LAYERS = [
    Conv2D(4, name="stem"),
    Residual([Conv2D(6, padding="same", name="inner"), None, Residual([BatchNorm()]), ReLU()], name="block"),
    Dense(3),
]


def list_tree(stages, path=""):
    """Every stage with its path, outer ones first."""
    for stage in stages:
        yield f"{path}{stage.key}", stage
        for branch in stage.branches:
            yield from list_tree(branch, f"{path}{stage.key}.")


def test_layers_of_residual_connections_are_stages():
    network = Network(LAYERS, (2, 8, 8), 5)
    paths = [path for path, _ in list_tree(network.stages)]
    inner = ["block.inner", "block.2", "block.2.0", "block.3", "block.shortcut.0"]
    assert paths == ["stem", "block", *inner, "2", "output"]
    shapes = {path: (stage.input_shape, stage.output_shape) for path, stage in list_tree(network.stages)}
    assert shapes["block.inner"] == ((4, 6, 6), (6, 6, 6)) and shapes["block"] == shapes["block.shortcut.0"]


def test_offsets_of_inner_stages_are_those_of_the_weights():
    network = Network(LAYERS, (2, 8, 8), 5, freeze=["stem"])
    network.initialize(np.random.RandomState(0))
    found = {}
    for path, stage in list_tree(network.stages):
        if not stage.branches:
            for name, shape in {**stage.shapes, **stage.statistics}.items():
                start = stage.offsets[name]
                found[f"{path}.{name}"] = network.params[start : start + count_elements([shape])].reshape(
                    shape
                )
    assert set(found) == set(network.weights)
    for key, weight in network.weights.items():
        np.testing.assert_array_equal(found[key], weight)
    assert network.stages[0].frozen and network.stages[0].offsets["weight"] == network.n_params


def test_inner_stages_of_a_frozen_stage_are_frozen():
    network = Network(LAYERS, (2, 8, 8), 5, freeze=["block"])
    frozen = {path for path, stage in list_tree(network.stages) if stage.frozen}
    assert frozen == {path for path, _ in list_tree(network.stages) if path.startswith("block")}
    counts = {path: stage.n_parameters for path, stage in list_tree(network.stages)}
    assert counts["block"] == counts["block.inner"] == 0 < counts["stem"]


def test_layers_of_branches_are_stages():
    inner = Parallel([[BatchNorm()], []], "average")
    network = Network([Parallel([[Conv2D(4, 1)], None, [inner, ReLU()]], name="mixed")], (2, 8, 8), 5)
    paths = [path for path, _ in list_tree(network.stages)]
    assert paths == ["mixed", "mixed.0.0", "mixed.2.0", "mixed.2.0.0.0", "mixed.2.1", "output"]
    assert [len(branch) for branch in network.stages[0].branches] == [1, 2]
    assert list(network.weights)[:2] == ["mixed.0.0.weight", "mixed.0.0.bias"]
    assert "mixed.2.0.0.0.running_mean" in network.weights
