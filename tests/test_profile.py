"""The profile of a training step, as a function and as a command."""

from functools import partial

import pytest

from skconvnet import architectures
from skconvnet.layers import Conv2D, MaxPool2D
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
def test_command(name, capsys, monkeypatch):
    monkeypatch.setattr("skconvnet.profile.profile", partial(profile, repeats=2))
    main([name, "--batch", "16", "--dtype", "float64"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{name}, float64, batch of 16, one thread, ")
    percentages = [float(line.split()[-1].rstrip("%")) for line in lines[1:-1]]
    assert abs(sum(percentages) - 100) < 2
    assert lines[-1].startswith("total")


def test_unknown_network(capsys):
    with pytest.raises(SystemExit):
        main(["alexnet"])
    assert "invalid choice: 'alexnet'" in capsys.readouterr().err
