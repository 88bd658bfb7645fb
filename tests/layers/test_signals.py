"""Layers of signals, and estimators that read X as signals."""

import re

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from skconvnet._defaults import make_signal_layers
from skconvnet._network import Network
from skconvnet.layers import (
    Augment,
    AvgPool1D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Flatten,
    GlobalAvgPool1D,
    GlobalMaxPool1D,
    LocallyConnected1D,
    MaxPool1D,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomShift,
    ReLU,
    Residual,
    ShapeError,
    Standardize,
    ZeroPad2D,
)
from skconvnet.layers.base import describe_shape
from skconvnet.layers.sequence import count_axes

rng = np.random.default_rng(0)
Y = np.arange(60) % 3
WAVES = np.sin(2 * np.pi * np.outer(2 + 2 * Y, np.linspace(0, 1, 30)) + rng.uniform(0, 6, (60, 1)))
PAIRS = np.stack([WAVES, rng.normal(0, 0.3, WAVES.shape)], axis=2)  # (n, length, channels)
LAYERS = [Conv1D(8, 5, padding="same"), BatchNorm(), ReLU(), MaxPool1D(), GlobalAvgPool1D()]


def make(layers=LAYERS, **options):
    return ConvNetClassifier(layers, **{"max_iter": 3, "random_state": 0, **options})


def test_forms_of_signals():
    """All forms of the same signals make the same predictions."""
    expected = make().fit(WAVES, Y)
    assert expected.input_shape_ == (30, 1) and expected.network_.input_shape == (1, 1, 30)
    first = {"data_format": "channels_first"}
    for X, options in [
        (WAVES[:, :, None], {}),
        (WAVES[:, None], first),
        (WAVES, first),
        (WAVES[:, None, :, None], {}),
        (WAVES[:, None, None], first),
        (WAVES, {"input_shape": (30,)}),
        (WAVES, {"input_shape": [30, 1]}),
        (WAVES.astype(object), {}),
    ]:
        clf = make(**options).fit(X, Y)
        np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(WAVES))
        np.testing.assert_array_equal(clf.predict_proba(WAVES[:1]), expected.predict_proba(WAVES[:1]))


def test_channels_of_signals():
    expected = make().fit(PAIRS, Y).predict_proba(PAIRS)
    clf = make(data_format="channels_first").fit(PAIRS.transpose(0, 2, 1), Y)
    assert clf.input_shape_ == (2, 30) and clf.network_.weights["0.weight"].shape == (8, 2, 5)
    np.testing.assert_array_equal(clf.predict_proba(PAIRS.transpose(0, 2, 1)), expected)
    rows = make(input_shape=(30, 2)).fit(PAIRS.reshape(60, -1), Y)
    np.testing.assert_array_equal(rows.predict_proba(PAIRS), expected)


def test_signals_are_images_of_one_row():
    images = [Conv2D(8, (1, 5), padding="same"), BatchNorm(), ReLU()]
    images = make([*images, Flatten()]).fit(PAIRS[:, None], Y)
    signals = make([*LAYERS[:3], Flatten()]).fit(PAIRS, Y)
    np.testing.assert_array_equal(signals.predict_proba(PAIRS), images.predict_proba(PAIRS[:, None]))


def test_signals_are_learned():
    clf = make(max_iter=30, learning_rate=0.01).fit(WAVES, Y)
    assert clf.score(WAVES, Y) > 0.9
    reg = ConvNetRegressor(LAYERS, max_iter=50, learning_rate=0.01, random_state=0).fit(WAVES, Y)
    assert reg.score(WAVES, Y) > 0.9
    assert ConvNetTransformer(FrozenEstimator(clf), layer=0).fit(WAVES).transform(WAVES).shape == (60, 240)


@pytest.mark.parametrize("length", [1, 3, 16, 40, 150, 700, 100_000])
def test_default_layers(length):
    layers = make_signal_layers((2, 1, length))
    network = Network(layers, (2, 1, length), 5)
    assert network.n_parameters < 300_000
    convolutions = [layer for layer in layers if isinstance(layer, Conv1D)]
    assert [layer.filters for layer in convolutions] == [32] + [64] * (len(convolutions) - 1)
    assert convolutions[0].stride == -(-length // 512) or length == 100_000
    assert length < 4 or layers[1] == MaxPool1D(2)


def test_default_layers_learn():
    clf = make("signals", max_iter=30).fit(WAVES, Y)
    assert clf.network_.layers == tuple(make_signal_layers((1, 1, 30))) and clf.score(WAVES, Y) > 0.9
    with pytest.raises(ValueError, match="Did you mean 'signals'"):
        make("signal").fit(WAVES, Y)


def test_first_layer_with_windows_decides():
    assert count_axes([Standardize(), None, Residual([BatchNorm(), Conv1D(2)]), Conv2D(3)]) == 1
    assert count_axes([RandomFlip(), Conv2D(3), Conv1D(3)]) == 2
    assert count_axes([Dense(3), BatchNorm()]) is None
    assert make([RandomShift((0, 2)), Residual([Conv1D(1, padding="same")])]).fit(WAVES, Y).input_shape_ == (
        30,
        1,
    )


def test_functions_of_augment_get_signals():
    shapes = []

    def look(signals, rng):
        shapes.append(signals.shape)
        return -signals

    make([Augment(look), *LAYERS], batch_size=60, max_iter=1).fit(PAIRS, Y)
    make([Augment(look), *LAYERS], batch_size=60, max_iter=1, data_format="channels_first").fit(
        PAIRS.transpose(0, 2, 1), Y
    )
    assert shapes == [(60, 30, 2), (60, 2, 30)]


def test_shortcut_of_signals():
    network = Network([Residual([Conv1D(4, stride=2, padding="same")])], (3, 30))
    assert network.weights["0.shortcut.0.weight"].shape == (4, 3, 1)
    assert network.output_shape == (4, 1, 15)


def test_whitening_of_signals():
    network = make([Conv1D(4, 4, init="whiten"), GlobalMaxPool1D()], learning_rate=1e-9, max_iter=1)
    weight = network.fit(WAVES, Y).network_.weights["0.weight"]
    windows = np.lib.stride_tricks.sliding_window_view(WAVES, 4, axis=1).reshape(-1, 4)
    deviations = (windows @ weight[:, 0].T).std(axis=0)
    np.testing.assert_allclose(deviations[0], 1, atol=0.01)
    np.testing.assert_allclose(weight[:2], -weight[2:], atol=1e-6)


def test_causal_outputs_depend_on_no_later_value():
    for layer in (
        Conv1D(3, 4, dilation=2, padding="causal"),
        LocallyConnected1D(3, 4, padding="causal"),
        MaxPool1D(4, stride=1, padding="causal"),
        AvgPool1D(4, stride=1, padding="causal"),
    ):
        network = Network([layer], (2, 20), dtype=np.float64)
        network.initialize(np.random.RandomState(0))
        X = rng.standard_normal((1, 2, 1, 20))
        y = network.forward(X).reshape(-1, 20)
        for j in range(20):
            changed = X.copy()
            changed[..., j] += 1 + np.abs(X).max()
            differs = (network.forward(changed).reshape(-1, 20) != y).any(axis=0)
            assert differs[j] and not differs[:j].any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"kernel_size": (3, 3)}, "Conv1D: kernel_size must be an int of at least 1 .*, got \\(3, 3\\)."),
        ({"stride": 0}, "Conv1D: stride must be an int"),
        ({"dilation": 1.5}, "Conv1D: dilation must be an int"),
        ({"padding": "samee"}, "Conv1D: padding must be .*, got 'samee'. Did you mean 'same'"),
        ({"padding": ((0, 0), (1, 1))}, "Conv1D: padding must be .*a pair \\(before, after\\)"),
        ({"padding": (1, -1)}, "Conv1D: padding must be an int of at least 0"),
        ({"groups": 3}, "Conv1D: filters must be a multiple of groups"),
    ],
)
def test_wrong_values(options, message):
    with pytest.raises(ValueError, match=message):
        Conv1D(4, **options)


def test_causal_padding_is_not_for_images():
    with pytest.raises(ValueError, match="Conv2D: padding must be"):
        Conv2D(4, padding="causal")


@pytest.mark.parametrize(
    "layer, shape, message",
    [
        (Conv1D(2, 5), (1, 1, 4), "at least 5 values"),
        (Conv1D(2), (1, 4, 4), "signals"),
        (GlobalAvgPool1D(), (1, 4, 4), "signals"),
        (MaxPool1D(), (4,), "signals"),
        (MaxPool1D(2, padding=2), (1, 1, 4), "a padding smaller than its window of 2 values"),
    ],
)
def test_wrong_inputs(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        layer.output_shape(shape)


@pytest.mark.parametrize(
    "X, options, message",
    [
        (WAVES.reshape(60, 5, 6, 1), {}, "X of shape (n, 5, 6, 1) has images, but the first layer"),
        (PAIRS, {"input_shape": (30, 1)}, "does not fit X, whose signals have shape (30, 2)"),
        (WAVES, {"input_shape": (15,)}, "input_shape=(15,) needs rows of 15 values, but X has rows of 30"),
        (WAVES, {"input_shape": (5, 6, 1)}, "input_shape must be (length,) or (length, channels)"),
        (WAVES, {"layers": None, "input_shape": (30,)}, "For signals, begin the layers with Conv1D."),
        (WAVES, {"layers": [Conv2D(2)]}, "for signals, use Conv1D"),
        (
            PAIRS.transpose(0, 2, 1),
            {"layers": [Conv1D(2, 5)], "input_shape": (2, 30)},
            'Samples of shape (2, 30) with their channels first need data_format="channels_first".',
        ),
    ],
)
def test_wrong_signals(X, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(**options).fit(X, Y)


def test_wrong_signals_in_prediction():
    clf = make().fit(PAIRS, Y)
    with pytest.raises(
        ValueError, match=re.escape("X of shape (30, 2) is read as 30 rows; for one signal give")
    ):
        clf.predict(PAIRS[0])
    with pytest.raises(
        ValueError, match=re.escape("X's signals have shape (29, 2), the network was fitted on")
    ):
        clf.predict(PAIRS[:, :29])


def test_other_messages_about_signals():
    for X, message in [
        ([[1.0, 2.0], [1.0]], "pad or cut signals, to one shape"),
        (np.zeros((2, 3, 3, 2, 2)), "signals of shape (n, length, channels)"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            make().fit(X, Y[:2])
    with pytest.raises(
        ValueError, match=re.escape("X's signals have shape (30,), the network was fitted on (30, 2)")
    ):
        make().fit(PAIRS, Y).predict(WAVES)
    for layers in ([Conv1D(3), Conv2D(4, 3)], [RandomCrop(30), Conv1D(2)]):
        with pytest.raises(
            ValueError, match="For signals, use layers whose names end in 1D, or pairs of sizes"
        ):
            make(layers).fit(WAVES, Y)
    with pytest.raises(ValueError, match="Layers before it keep a signal's only row"):
        make([ZeroPad2D(3), Conv1D(2)]).fit(WAVES, Y)
    with pytest.raises(ValueError, match=re.escape("Write (30, 30), or (30,) for signals.")):
        make(input_shape=30).fit(WAVES, Y)
    with pytest.raises(ValueError, match='must be "valid", "same", "causal", an int'):
        Conv1D(2, padding=None)
    assert describe_shape((1, 1, 1)) == "1x1 pixels in 1 channel"
    assert count_axes([RandomRotation(), Conv1D(2)]) == 2


def test_features_of_default_layers():
    clf = make("signals", max_iter=1).fit(WAVES, Y)
    for estimator in (make("signals", max_iter=1), FrozenEstimator(clf)):
        assert ConvNetTransformer(estimator, layer=0).fit(WAVES, Y).transform(WAVES).shape == (60, 32 * 30)


def test_forms_that_could_be_either_warn():
    with pytest.warns(
        UserWarning, match=re.escape("(n, 30, 2) is read as images of 30x2 pixels; if they are")
    ):
        make(None, max_iter=1).fit(PAIRS, Y)
    make(None, max_iter=1, input_shape=(30, 2)).fit(PAIRS, Y)
    make([Conv2D(2, 2)], max_iter=1).fit(PAIRS, Y)
    make(None, max_iter=1).fit(WAVES.reshape(60, 5, 6), Y)
    wide = rng.standard_normal((60, 5, 20))
    with pytest.warns(UserWarning, match="is read as 5 values in 20 channels; if channels come first"):
        make(max_iter=1).fit(wide, Y)
    make(max_iter=1, input_shape=(5, 20)).fit(wide, Y)
    make(max_iter=1, data_format="channels_first").fit(wide, Y)
