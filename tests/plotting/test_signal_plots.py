"""Displays of estimators of signals: lines and stems instead of images."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from skconvnet import ConvNetClassifier
from skconvnet.layers import Conv1D, Conv2D, GlobalMaxPool1D, LocallyConnected1D, MaxPool1D, Residual
from skconvnet.plotting import FeatureMapsDisplay, FiltersDisplay, MistakesDisplay, SaliencyDisplay
from skconvnet.plotting.base import draw_signals
from skconvnet.plotting.images import list_convolutions

plt.switch_backend("Agg")
X = np.random.default_rng(0).standard_normal((30, 20, 2))
Y = np.arange(30) % 3
LAYERS = [
    Conv1D(6, 5, padding="same", activation="relu", name="stem"),
    LocallyConnected1D(4, 3, padding="same"),
    MaxPool1D(),
    Residual([Conv1D(3, 3, stride=2, padding="same")], name="block"),
    GlobalMaxPool1D(),
]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def clf():
    return ConvNetClassifier(LAYERS, max_iter=2, random_state=0).fit(X, Y)


@pytest.mark.parametrize("stems", [False, True])
def test_signals_are_drawn_in_rows_on_one_scale(stems):
    signals = np.array([[1.0, 2.0, 3.0], [3.0, 3.0, 3.0], [-1.0, 0.0, 1.0]])
    ax = plt.figure().add_subplot()
    artist = draw_signals(ax, signals, 2, 2, stems=stems)
    segments = np.array(artist.get_segments())
    # points of curves, or the ends of stems; the first two signals are side by side, the third is below
    points = segments[:, 1].reshape(3, 3, 2) if stems else segments
    np.testing.assert_allclose(points[1, :, 0] - points[0, :, 0], 3 * 9 / 8)
    assert (points[2, :, 1] > points[0, :, 1]).all() and ax.yaxis_inverted()
    heights = points[:, :, 1] - [[0], [0], [9]]
    np.testing.assert_allclose(heights, -0.5 + 2 * (3 - signals))  # 8 units for the range from -1 to 3
    if stems:
        starts = segments[:, 0].reshape(3, 3, 2)
        np.testing.assert_allclose(starts[..., 0], points[..., 0])
        np.testing.assert_allclose(starts[..., 1] - [[0], [0], [9]], -0.5 + 2 * 3)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "2"]


def test_filters_are_stems(clf):
    display = FiltersDisplay.from_estimator(clf)
    assert isinstance(display.image_, LineCollection) and display.colorbar_ is None
    np.testing.assert_array_equal(display.weight, clf.network_.weights["stem.weight"])
    assert len(display.image_.get_segments()) == 6 * 2 * 5
    assert display.ax_.get_title() == "6 filters of layer 'stem', 5×2"
    assert display.ax_.get_xlabel() == "channel"
    inner = FiltersDisplay.from_estimator(clf, "block.0")
    assert inner.ax_.get_title() == "3 filters of layer 'block.0', 3×4"
    one = FiltersDisplay(display.weight[:, :1]).plot()
    assert len(one.image_.get_segments()) == 6 * 5 and one.ax_.get_xlabel() == ""
    with pytest.raises(ValueError, match="layer 1 has no filters. .*Valid: block.0, block.shortcut.0, stem"):
        FiltersDisplay.from_estimator(clf, 1)  # locally connected


def test_keys_of_convolutions(clf):
    assert list_convolutions(clf.network_.stages) == ["stem", "block.0", "block.shortcut.0"]
    images = ConvNetClassifier([Residual([Conv2D(2, 1)]), Conv2D(3, 1)], max_iter=1).fit(X[..., None], Y)
    assert list_convolutions(images.network_.stages) == ["0.0", "0.shortcut.0", "1"]


def test_feature_maps_are_curves(clf):
    display = FeatureMapsDisplay.from_estimator(clf, X[0])
    assert isinstance(display.image_, Line2D) and display.colorbar_ is None
    lines = display.axes_[0].get_lines()
    np.testing.assert_array_equal([line.get_ydata() for line in lines], X[0].T)
    assert len(display.maps_.get_segments()) == 6
    assert display.axes_[1].get_title() == "6 maps of layer 'stem', 20 values"


@pytest.mark.parametrize("method", ["gradient", "grad_cam"])
def test_saliency_covers_the_signal(clf, method):
    display = SaliencyDisplay.from_estimator(clf, X[0], method=method)
    assert isinstance(display.image_, Line2D)
    left, right, low, high = display.heat_.get_extent()
    assert (left, right) == (-0.5, 19.5)
    np.testing.assert_allclose((low, high), (X[0].min(), X[0].max()))
    assert display.saliency.shape == ((1, 20) if method == "gradient" else (1, 5))


def test_mistakes_are_curves(clf):
    display = MistakesDisplay.from_estimator(clf, X, (Y + 1) % 3, n=4)
    assert len(display.axes_) == len(display.images_) <= 4
    assert all(isinstance(line, Line2D) for line in display.images_)
    k = display.rows[0]
    np.testing.assert_array_equal([line.get_ydata() for line in display.axes_[0].get_lines()], X[k].T)
