"""The profile of a training step, as a function and as a command."""

import re

import numpy as np
import pytest

from skconvnet import architectures
from skconvnet._network import Network
from skconvnet.kernels import get_isa
from skconvnet.layers import Conv2D, Dense, LocallyConnected2D, MaxPool2D, ReLU
from skconvnet.profile import main, profile


def test_parts():
    layers = [Conv2D(4, activation="relu", name="stem"), MaxPool2D()]
    parts = profile(layers, (1, 8, 8), batch_size=20, repeats=3)
    calls = ["stem pooled_conv", "1 max_pool_of_conv", "output dense"]
    assert [label for label, _ in parts] == [
        "gather",
        *(f"{call} forward" for call in calls),
        "loss",
        *(f"{call} backward" for call in calls),
    ]
    assert all(seconds >= 0 for _, seconds in parts) and sum(seconds for _, seconds in parts) > 0


@pytest.mark.parametrize("name", architectures.__all__)
def test_command(name, capsys):
    main([name, "--batch", "16", "--dtype", "float64", "--repeats", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        rf"{name}, float64, batch of 16, one thread, {get_isa()}, peak of \d+ GFLOP/s", lines[0]
    )
    rows = [re.search(r" ([\d.]+) us +([\d.]+)%", line).groups() for line in lines[1:]]
    *times, total = [float(us) for us, _ in rows]
    assert abs(sum(times) - total) <= 0.05 * len(rows) + 1e-6  # all are rounded to 0.1
    for us, (_, percentage) in zip(times, rows):
        assert abs(float(percentage) - 100 * us / total) <= 0.05 + 20 / total
    assert re.match(r"total .* us +100.0% .* GFLOP/s .*% of the peak$", lines[-1])


def test_command_with_layers(capsys):
    layers = "[Conv2D(4, (3, 5)), ReLU(), Flatten(), Dense(7)]"
    main(["--layers", layers, "--input", "6", "8", "2", "--outputs", "3", "--threads", "2", "--repeats", "1"])
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith("layers, float32, batch of 64, 2 threads, ")
    rated = [line.split(" " * 3)[0] for line in lines if "GFLOP/s" in line]
    names = "0 conv", "3 dense", "output dense"
    assert rated == [f"{name} {way}" for way in ("forward", "backward") for name in names] + ["total"]
    main(["--layers", "[Dense(5)]", "--input", "20", "--repeats", "1"])
    assert "0 dense forward" in capsys.readouterr().out


def test_operations():
    """Two for each multiply-add, forward, to the weights, and to the input if a layer before is trained."""
    layers = [Conv2D(4, (3, 5), groups=2), ReLU(), LocallyConnected2D(2, 3), Dense(7)]
    conv, local, dense, output = 4 * 4 * 4 * 15, 2 * 2 * 2 * 36, 8 * 7, 7 * 3
    operations = Network(layers, (2, 6, 8), 3).count_operations()
    forward = [conv, local, dense, output]
    expected = [0, *forward, 0, conv, *(2 * n for n in forward[1:])]
    np.testing.assert_array_equal(operations, 2 * np.array(expected))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_peak(n_threads, isa):
    """It is more than a multiply-add a microsecond, and less than a thousand times what a core can do today."""
    network = Network([Dense(2)], (3,))
    assert 1e6 < network.measure_peak(n_threads) < 1e15


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["alexnet"], "invalid choice: 'alexnet'"),
        ([], "name a network, or give --layers and --input"),
        (["vgg", "--layers", "[Dense(5)]"], "name a network, or give --layers and --input"),
        (["--layers", "[Dense(5)]"], "--layers needs --input"),
        (["--layers", "[Dense(5)]", "--input", "5", "5"], "--layers needs --input"),
        (["--layers", "[Dense(5", "--input", "5"], "must be a Python list of layers"),
        (["--layers", "[Conv9D(5)]", "--input", "5"], "name 'Conv9D' is not defined"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
