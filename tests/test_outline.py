"""The outline of a network: its summary."""

from checks import build

from skconvnet.layers import (
    Conv2D,
    MaxPool2D,
)

TABLE = [[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_summary(capsys):
    build((3, 7, 6), [Conv2D(5, connections=TABLE, name="stem"), None, MaxPool2D()]).summary()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["layer", "input", "stem", "2", "output"]
    assert "(5, 5, 4)" in lines[2] and lines[2].split()[-2:] == [str(8 * 9 + 5), "800"]
    assert lines[-1] == "140 parameters, 1120 bytes in float64"
