"""The displays: they show the right values, with labels, in the axes that the caller gives."""

import copy
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from checks import build
from matplotlib.image import AxesImage
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skconvnet import ConvNetClassifier, ConvNetRegressor, plotting
from skconvnet.layers import (
    GELU,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    LayerNorm,
    MaxPool2D,
    Mixup,
    Output,
    Parallel,
    RandomCrop,
    ReLU,
    Residual,
    Standardize,
)
from skconvnet.plotting import (
    FeatureMapsDisplay,
    FiltersDisplay,
    LearningCurveDisplay,
    MistakesDisplay,
    NetworkDisplay,
    SaliencyDisplay,
)
from skconvnet.plotting.predictions import differentiate

plt.switch_backend("Agg")
X, Y = load_digits(return_X_y=True)
X, Y = X[:200].reshape(-1, 8, 8) / 16, Y[:200]
LAYERS = [
    Conv2D(5, padding="same", name="stem"),
    BatchNorm(),
    Residual([Conv2D(7, stride=2, padding="same"), ReLU(), Dropout(0.5)], name="block"),
    Dense(12, activation="relu"),
]
STACKS = {
    "normalised": [
        Standardize(),
        Mixup(),
        RandomCrop(7),
        Conv2D(4, padding="same", name="stem"),
        None,
        BatchNorm(epsilon=1e-3),
        ReLU(),
        Dropout(0.5),
        MaxPool2D(),
        Dense(5),
        BatchNorm(center=False),
        GELU(),
    ],
    "residual": [
        Residual(
            [Conv2D(6, stride=2, padding="same", name="down"), None, BatchNorm(name="norm"), Dropout(0.5)],
            [Conv2D(6, 1, stride=2), BatchNorm(scale=False)],
            name="block",
        ),
        ReLU(),
        Residual([Residual([Conv2D(6, padding="same"), BatchNorm()])]),
    ],
    "one channel": [Conv2D(1), BatchNorm(), LayerNorm()],
    "no dense layer": [Conv2D(3), BatchNorm(), GlobalAvgPool2D(), Output(dense=False)],
}


@pytest.fixture(scope="module")
def clf():
    return ConvNetClassifier(LAYERS, max_iter=4, early_stopping=True, random_state=0).fit(X, Y)


@pytest.fixture(scope="module")
def coloured():
    rng = np.random.default_rng(0)
    images, y = (
        rng.integers(0, 256, (40, 3, 8, 6)).astype(np.uint8),
        np.array(["cat", "dog"])[np.arange(40) % 2],
    )
    layers = [Conv2D(4, name="stem"), MaxPool2D(), Flatten()]
    clf = ConvNetClassifier(
        layers,
        data_format="channels_first",
        loss="binary_cross_entropy",
        max_iter=2,
        random_state=0,
        dtype="float64",
    )
    return clf.fit(images, y), images, y


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def draw_all(clf, **options):
    """Return every display of an estimator."""
    return {
        "curves": LearningCurveDisplay.from_estimator(clf),
        "filters": FiltersDisplay.from_estimator(clf),
        "maps": FeatureMapsDisplay.from_estimator(clf, X[0]),
        "network": NetworkDisplay.from_estimator(clf),
        "gradient": SaliencyDisplay.from_estimator(clf, X[0]),
        "grad_cam": SaliencyDisplay.from_estimator(clf, X[0], method="grad_cam"),
        "mistakes": MistakesDisplay.from_estimator(clf, X, Y),
    }


def unfold(mosaic, n, n_columns, shape):
    """Return the images of a mosaic, found by the NaN between them."""
    rows = np.flatnonzero(np.isfinite(mosaic).any(axis=1))
    columns = np.flatnonzero(np.isfinite(mosaic).any(axis=0))
    rows = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    columns = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    assert len(columns) == n_columns
    tiles = [mosaic[np.ix_(r, c)] for r in rows for c in columns][:n]
    zoom = len(rows[0]) // shape[0]
    assert all(tile.shape == (shape[0] * zoom, shape[1] * zoom) for tile in tiles)
    return np.array([tile[::zoom, ::zoom] for tile in tiles])


class TestEveryDisplay:
    def test_is_drawn_again_where_the_caller_says(self, clf):
        for name, display in draw_all(clf).items():
            first = display.figure_
            two = name in ("curves", "maps")
            for n in (1, 2) if two else (1,):
                figure, axes = plt.subplots(1, n)
                assert display.plot(ax=axes) is display
                assert display.figure_ is figure and first is not figure
                assert display.ax_ is np.ravel(axes)[0]
                own = display.axes_ if two else [display.ax_]
                if n == 2:
                    assert all(a is b for a, b in zip(own, axes, strict=True))
                assert all(a.get_title() for a in own)
                figure.canvas.draw()
            expected = "1 axes or 2" if two else "1 axes"
            with pytest.raises(
                ValueError, match=f"{type(display).__name__}.plot: ax must be {expected}, got 3"
            ):
                display.plot(ax=plt.subplots(1, 3)[1])
            plt.close("all")

    @pytest.mark.parametrize("layout", [None, "constrained"])
    def test_one_axes_is_divided_without_overlaps(self, clf, layout):
        figure, axes = plt.subplots(1, 3, figsize=(24, 4), layout=layout)
        LearningCurveDisplay.from_estimator(clf, ax=axes[0])
        maps = FeatureMapsDisplay.from_estimator(clf, X[0], ax=axes[1])
        SaliencyDisplay.from_estimator(clf, X[0], ax=axes[2])
        figure.canvas.draw()
        shown = [a for ax in axes[:2] for a in ax.child_axes] + [axes[2]]
        boxes = [a.get_tightbbox() for a in shown]
        for k, box in enumerate(boxes):
            assert 0 <= box.x0 and box.x1 <= figure.bbox.x1 and 0 <= box.y0 and box.y1 <= figure.bbox.y1
            assert not any(box.overlaps(other) for other in boxes[:k])
        scale, image = maps.colorbar_.ax.get_window_extent(), maps.axes_[1].get_window_extent()
        assert (scale.y0, scale.y1) == pytest.approx((image.y0, image.y1))  # as high as the maps

    def test_refuses_other_and_unfitted_estimators(self, clf):
        for name in plotting.__all__:
            draw = getattr(plotting, name).from_estimator
            more = {"FeatureMapsDisplay": (X[0],), "SaliencyDisplay": (X[0],), "MistakesDisplay": (X, Y)}.get(
                name, ()
            )
            with pytest.raises(TypeError, match=f"{name}.from_estimator needs a ConvNet.*got Pipeline"):
                draw(make_pipeline(MinMaxScaler(), clf), *more)
            with pytest.raises(NotFittedError):
                draw(ConvNetClassifier(), *more)

    def test_takes_a_layer_by_position(self, clf):
        for name, given in (("Filters", ()), ("FeatureMaps", (X[0],)), ("Saliency", (X[0],))):
            draw = getattr(plotting, f"{name}Display").from_estimator
            more = {"method": "grad_cam"} if name == "Saliency" else {}
            drawn = draw(clf, *given, "stem", **more), draw(clf, *given, layer="stem", **more)
            first, second = (
                [image.get_array() for image in display.figure_.findobj(AxesImage)] for display in drawn
            )
            assert len(first) == len(second) > 0
            for one, other in zip(first, second):
                np.testing.assert_array_equal(one, other)
            plt.close("all")

    def test_learning_curves_take_no_data(self, clf):
        message = "draws history_ of a fitted estimator.*use sklearn.model_selection.LearningCurveDisplay"
        with pytest.raises(TypeError, match=message):
            LearningCurveDisplay.from_estimator(clf, X, Y)

    def test_names_the_method_that_lacks_matplotlib(self, clf, monkeypatch):
        display = NetworkDisplay.from_estimator(clf)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ImportError, match="FiltersDisplay.from_estimator requires matplotlib"):
            FiltersDisplay.from_estimator(clf)
        with pytest.raises(ImportError, match="NetworkDisplay.plot requires matplotlib"):
            display.plot()

    def test_imports_matplotlib_late(self):
        code = "import sys, skconvnet.plotting; assert 'matplotlib' not in sys.modules"
        subprocess.run([sys.executable, "-P", "-c", code], check=True)


class TestLearningCurves:
    def test_shows_the_history(self, clf):
        display = LearningCurveDisplay.from_estimator(clf)
        names = ["train_loss", "valid_loss", "train_score", "valid_score"]
        for line, name in zip(display.lines_, names, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
            np.testing.assert_array_equal(line.get_ydata(), [record[name] for record in clf.history_])
        for axes, label in zip(display.axes_, ("cross entropy", "accuracy"), strict=True):
            assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", label)
            legend = [text.get_text() for text in axes.get_legend().get_texts()]
            assert legend == ["training", "validation", f"best epoch, {clf.best_iter_}"]
            display.figure_.canvas.draw()
            assert all(tick == int(tick) for tick in axes.get_xticks())
        assert [line.get_xdata()[0] for line in display.best_lines_] == [clf.best_iter_] * 2

    def test_of_a_regressor_without_validation(self):
        reg = ConvNetRegressor([Dense(3)], max_iter=1, random_state=0).fit(X.reshape(200, -1), Y)
        display = LearningCurveDisplay.from_estimator(reg)
        assert [axes.get_ylabel() for axes in display.axes_] == ["squared error", "R²"]
        assert len(display.lines_) == 2 and display.best_lines_ == []

    @pytest.mark.parametrize("scoring", ["neg_log_loss", lambda clf, X, y: -clf.score(X, y)])
    def test_shows_one_metric_in_one_axes(self, clf, scoring):
        other = clone(clf).set_params(max_iter=2, scoring=scoring).fit(X, Y)
        display = LearningCurveDisplay.from_estimator(other)
        (score,) = display.axes_[1].get_lines()[:-1]  # the last one marks the best epoch
        np.testing.assert_array_equal(score.get_ydata(), other.validation_scores_)
        assert display.axes_[1].get_ylabel() == (scoring if isinstance(scoring, str) else "score")
        assert [line.get_label() for line in display.lines_] == ["training", "validation", "validation"]
        colours = [line.get_color() for line in display.lines_]
        assert colours[0] != colours[1] == colours[2]

    @pytest.mark.parametrize(
        ("kind", "scoring", "label"),
        [(ConvNetClassifier, "accuracy", "accuracy"), (ConvNetRegressor, "r2", "R²")],
    )
    def test_shows_both_scores_if_scoring_is_the_metric_of_training(self, kind, scoring, label):
        model = kind([Dense(3)], max_iter=1, random_state=0, scoring=scoring)
        display = LearningCurveDisplay.from_estimator(model.fit(X, Y, X_val=X, y_val=Y))
        assert len(display.lines_) == 4 and display.axes_[1].get_ylabel() == label

    @pytest.mark.parametrize("given", [{}, {"X_val": X, "y_val": Y}], ids=["none", "nan"])
    def test_shows_the_score_of_training_if_validation_has_none(self, given):
        model = ConvNetClassifier([Dense(3)], max_iter=1, random_state=0, scoring=lambda clf, X, y: np.nan)
        display = LearningCurveDisplay.from_estimator(model.fit(X, Y, **given))
        assert [line.get_label() for line in display.axes_[1].get_lines()] == ["training"]
        assert display.axes_[1].get_ylabel() == "accuracy"

    def test_names_the_loss_that_it_was_fitted_with(self, clf):
        changed = copy.copy(clf).set_params(loss="squared_error")
        assert LearningCurveDisplay.from_estimator(changed).axes_[0].get_ylabel() == "cross entropy"

    def test_needs_an_epoch(self, clf):
        empty = copy.copy(clf)
        empty.history_ = []
        with pytest.raises(ValueError, match="no epoch was trained to its end"):
            LearningCurveDisplay.from_estimator(empty)


class TestFilters:
    def test_of_one_channel(self, clf):
        display, weight = FiltersDisplay.from_estimator(clf), clf.network_.weights["stem.weight"]
        np.testing.assert_array_equal(
            unfold(display.image_.get_array().filled(np.nan), 5, 3, (3, 3)), weight[:, 0]
        )
        largest = np.abs(weight).max()
        np.testing.assert_allclose(display.image_.get_clim(), (-largest, largest))
        assert display.ax_.get_title() == "5 filters of layer 'stem', 3×3×1"
        assert display.colorbar_.ax.get_ylabel() == "weight" and display.ax_.get_ylabel() == "filter"
        assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["0", "3"]

    def test_of_many_channels_a_row_a_filter(self, clf):
        display = FiltersDisplay.from_estimator(clf, layer="block.0")
        tiles = unfold(display.image_.get_array().filled(np.nan), 35, 5, (3, 3)).reshape(7, 5, 3, 3)
        np.testing.assert_array_equal(tiles, clf.network_.weights["block.0.weight"])
        assert (display.ax_.get_ylabel(), display.ax_.get_xlabel()) == ("filter", "channel")

    def test_of_three_channels_in_colour(self, coloured):
        display, weight = (
            FiltersDisplay.from_estimator(coloured[0], layer=0),
            coloured[0].network_.weights["stem.weight"],
        )
        zoom = 3
        corner = display.image_.get_array()[: 3 * zoom : zoom, : 3 * zoom : zoom]
        np.testing.assert_allclose(corner, 0.5 + weight[0].transpose(1, 2, 0) / np.abs(weight).max() / 2)
        assert display.colorbar_ is None

    def test_refuses_layers_without_filters(self, clf):
        with pytest.raises(ValueError, match="layer 'block' has no filters. .*Valid: .*stem"):
            FiltersDisplay.from_estimator(clf, layer="block")
        with pytest.raises(ValueError, match="no layer 'stm'.*Did you mean 'stem'"):
            FiltersDisplay.from_estimator(clf, layer="stm")
        dense = ConvNetClassifier([Dense(3)], max_iter=1).fit(X.reshape(200, -1), Y)
        with pytest.raises(ValueError, match="no convolution"):
            FiltersDisplay.from_estimator(dense)


class TestFeatureMaps:
    def test_shows_image_and_maps(self, clf):
        display = FeatureMapsDisplay.from_estimator(clf, X[3])
        weight, bias = clf.network_.weights["stem.weight"], clf.network_.weights["stem.bias"]
        padded = np.pad(X[3], 1)
        patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
        expected = np.einsum("ijuv,fuv->fij", patches, weight[:, 0]) + bias[:, None, None]
        np.testing.assert_allclose(display.maps, expected, atol=1e-6)
        shown = unfold(display.maps_.get_array().filled(np.nan), 5, 3, (8, 8))
        np.testing.assert_array_equal(shown, display.maps)
        np.testing.assert_allclose(display.image_.get_array(), X[3] / X[3].max())
        assert display.image_.get_cmap().name == "gray"
        assert display.axes_[1].get_title() == "5 maps of layer 'stem', 8×8"

    def test_of_a_later_layer(self, clf):
        display = FeatureMapsDisplay.from_estimator(clf, X[3], layer=-2)
        assert display.layer == "block" and display.maps.shape == (7, 4, 4)

    def test_takes_samples_as_the_estimator_does(self, clf, coloured):
        expected = FeatureMapsDisplay.from_estimator(clf, X[3]).maps
        frame = pd.DataFrame(X.reshape(200, -1), columns=[f"p{k}" for k in range(64)])
        rows = ConvNetClassifier(**{**clf.get_params(deep=False), "input_shape": (8, 8)}).fit(frame, Y)
        np.testing.assert_array_equal(FeatureMapsDisplay.from_estimator(rows, frame.iloc[3]).maps, expected)
        model, images, _ = coloured
        display = FeatureMapsDisplay.from_estimator(model, images[0])
        low, high = images[0].min(), images[0].max()
        np.testing.assert_allclose(
            display.image_.get_array(), (images[0].transpose(1, 2, 0) - float(low)) / (high - float(low))
        )

    def test_refuses_layers_without_images(self, clf):
        with pytest.raises(ValueError, match="output of Dense '3' is 12 features.*stem, 1, block"):
            FeatureMapsDisplay.from_estimator(clf, X[0], layer=3)
        with pytest.raises(ValueError, match="no layer 'blok'.*Did you mean 'block'"):
            FeatureMapsDisplay.from_estimator(clf, X[0], layer="blok")
        with pytest.raises(ValueError, match="was fitted on|features"):
            FeatureMapsDisplay.from_estimator(clf, X[0, :4])
        for several in (X[:1], X[:4], X[:8, ..., None]):
            with pytest.raises(
                ValueError, match=f"FeatureMaps.* draws one image, .* got {len(several)} images"
            ):
                FeatureMapsDisplay.from_estimator(clf, several)
        dense = ConvNetClassifier([Dense(3)], max_iter=1).fit(X.reshape(200, -1), Y)
        with pytest.raises(ValueError, match="needs an estimator of images.*input_shape"):
            FeatureMapsDisplay.from_estimator(dense, X[0].ravel())


class TestNetwork:
    def test_a_box_a_layer(self, clf):
        display = NetworkDisplay.from_estimator(clf)
        assert set(display.boxes_) == {
            "input", "stem", "1", "block", "block.0", "block.1", "block.2", "block.shortcut.0", "3", "output",
        }  # fmt: skip
        texts = {key: [text.get_text() for text in texts] for key, texts in display.texts_.items()}
        assert texts["stem"] == ["stem  Conv2D", "filters=5, padding='same'", "5 × 8 × 8", "50 parameters"]
        assert texts["block"] == ["block  + shortcut", "", "7 × 4 × 4", "357 in all"]
        assert texts["output"][2] == "10"
        assert display.ax_.get_title() == f"5 layers, {clf.network_.n_parameters:,} parameters"

    def test_branches(self):
        se = Parallel([[], [GlobalAvgPool2D(), Dense(2)]], "multiply", name="se")
        mixed = Parallel([[Conv2D(2, 1)], [se], []], name="mixed")
        display = NetworkDisplay.from_estimator(ConvNetClassifier([Conv2D(2), mixed], max_iter=1).fit(X, Y))
        inner = {"mixed.0.0", "mixed.1.se", "mixed.1.se.1.0", "mixed.1.se.1.1"}
        assert set(display.boxes_) == {"input", "0", "mixed", *inner, "output"}
        texts = {key: [text.get_text() for text in texts] for key, texts in display.texts_.items()}
        assert texts["mixed"] == ["mixed  Parallel", "merge='concat'", "6 × 6 × 6", "12 in all"]
        assert texts["mixed.1.se"] == ["se  Parallel", "", "2 × 6 × 6", "6 in all"]
        assert texts["mixed.1.se.1.1"][0] == "1  Dense"

    def test_boxes_and_what_is_in_them_do_not_overlap(self, clf):
        layers = [Conv2D(2, padding="same", name=f"with_a_long_name_{k}") for k in range(25)] + LAYERS[1:3]
        inner = Residual([Conv2D(3, stride=2, padding="same")], name="inner")
        layers.append(Residual([inner, ReLU()], [Conv2D(3, 1, stride=2), ReLU(), ReLU(), BatchNorm()]))
        factors = [GlobalAvgPool2D(), Dense(3, activation="sigmoid", name="factors")]
        layers.append(
            Parallel(
                [
                    [Conv2D(2, 1)],
                    [Parallel([[], factors], "multiply"), ReLU()],
                    [],
                    [Conv2D(3, 1), Residual([ReLU()])],
                ]
            )
        )
        deep = ConvNetClassifier(layers, max_iter=1).fit(X[:30], Y[:30])
        for model in (clf, deep):
            display = NetworkDisplay.from_estimator(model)
            display.figure_.canvas.draw()
            boxes = {key: box.get_window_extent() for key, box in display.boxes_.items()}
            for key, box in boxes.items():
                assert not any(box.overlaps(other) for name, other in boxes.items() if name != key)
                inside = [text.get_window_extent() for text in display.texts_[key] if text.get_text()]
                for k, text in enumerate(inside):
                    assert box.x0 <= text.x0 and text.x1 <= box.x1 and box.y0 <= text.y0 and text.y1 <= box.y1
                    assert not any(text.overlaps(other) for other in inside[:k])


class TestSaliency:
    def differences(self, model, image, score, h=1e-5):
        """Return central differences of a score with respect to each element of an image."""
        steps = np.eye(image.size).reshape(-1, *image.shape) * h
        return ((score(image + steps) - score(image - steps)) / (2 * h)).reshape(image.shape)

    def test_gradient_is_that_of_the_score(self, clf):
        for target in (2, None):
            display = SaliencyDisplay.from_estimator(clf, X[3], target=target)
            index = 2 if target == 2 else clf.decision_function(X[3:4])[0].argmax()
            expected = self.differences(
                clf, X[3], lambda images, k=index: clf.decision_function(images)[:, k]
            )
            np.testing.assert_allclose(display.saliency, np.abs(expected), rtol=1e-4, atol=1e-7)
            np.testing.assert_array_equal(display.heat_.get_array(), display.saliency)
            assert display.ax_.get_title() == f"Saliency for class {clf.classes_[index]}"
        assert display.colorbar_.ax.get_ylabel() == "absolute gradient"
        assert display.heat_.get_interpolation() == "bilinear"
        assert display.heat_.get_extent() == display.image_.get_extent()

    def test_of_colours_is_that_of_the_largest_channel(self, coloured):
        clf, images, _ = coloured
        image = images[0].astype(float)
        expected = self.differences(clf, image, clf.decision_function, h=1e-4)
        for target in ("cat", "dog"):
            display = SaliencyDisplay.from_estimator(clf, image, target=target)
            np.testing.assert_allclose(display.saliency, np.abs(expected).max(axis=0), rtol=1e-4, atol=1e-8)
        best = clf.predict(image[None])[0]
        assert SaliencyDisplay.from_estimator(clf, image).target == best

    def test_grad_cam(self, coloured):
        """The score is linear in the pooled maps here, so the dense weights are the gradients."""
        clf, images, _ = coloured
        weight = clf.network_.weights["output.weight"].reshape(4, 3, 2)
        maps = FeatureMapsDisplay.from_estimator(clf, images[0], layer=1).maps
        expected = np.tensordot(weight.mean(axis=(1, 2)), maps, 1)
        for target, sign in (("cat", -1), ("dog", 1)):
            display = SaliencyDisplay.from_estimator(clf, images[0], method="grad_cam", target=target)
            np.testing.assert_allclose(display.saliency, np.maximum(sign * expected, 0), rtol=1e-9)
        assert display.colorbar_.ax.get_ylabel() == "Grad-CAM"
        early = SaliencyDisplay.from_estimator(clf, images[0], method="grad_cam", layer="stem")
        assert early.saliency.shape == (6, 4)

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"method": "guess"}, "method must be one of gradient, grad_cam, got 'guess'"),
            ({"target": 10}, "target must be one of classes_"),
            ({"layer": "stem"}, "layer='stem' needs method="),
            ({"method": "grad_cam", "layer": "3"}, "output of Dense '3' is 12 features.*stem, 1, block"),
            ({"method": "grad_cam", "layer": "sten"}, "Did you mean 'stem'"),
        ],
    )
    def test_refuses(self, clf, options, message):
        with pytest.raises(ValueError, match=message):
            SaliencyDisplay.from_estimator(clf, X[0], **options)

    def test_of_several_labels(self):
        clf = ConvNetClassifier(LAYERS, loss="binary_cross_entropy", max_iter=1, random_state=0)
        clf.fit(X, np.eye(10, dtype=int)[Y])
        expected = self.differences(clf, X[0], lambda images: clf.decision_function(images)[:, 7])
        saliency = SaliencyDisplay.from_estimator(clf, X[0], target=7).saliency
        np.testing.assert_allclose(saliency, np.abs(expected), rtol=1e-4, atol=1e-7)

    @pytest.mark.parametrize("stack", STACKS)
    def test_gradients_are_those_of_predictions(self, stack):
        """Compare with central differences, after a layer along the change of its output by a step in X."""
        network, rng, h = build((2, 8, 8), STACKS[stack]), np.random.RandomState(0), 1e-6
        for key, part in network.split(network.params).items():
            if key.endswith("weight") and part.ndim == 1:
                part[0] *= -1  # a scale below 0
        before = network.params.copy()
        X, dy, step = rng.standard_normal((5, 2, 8, 8)), rng.standard_normal((5, 3)), rng.standard_normal(128)

        def measure(last=None):
            """Return a layer's output, and its derivative along the step."""
            far, near = (network.forward(X + s * h * step.reshape(2, 8, 8), last=last) for s in (1, -1))
            return network.forward(X, last=last), (far - near) / (2 * h)

        derivative = (measure()[1] * dy).sum()
        dx = differentiate(network, X, dy).reshape(5, 128)
        np.testing.assert_allclose((dx * step).sum(), derivative, rtol=1e-6)
        for stage in network.stages[:-1]:
            inner, along = measure(stage.key)
            dx = differentiate(network, inner.reshape(5, *stage.output_shape), dy, after=stage.key)
            np.testing.assert_allclose((dx.reshape(along.shape) * along).sum(), derivative, rtol=1e-6)
        np.testing.assert_array_equal(network.params, before)

    def test_without_any_saliency(self):
        display = SaliencyDisplay(np.ones((1, 4, 4)), np.zeros((2, 2))).plot()
        display.figure_.canvas.draw()
        assert display.ax_.get_title() == "Saliency"

    def test_needs_classes(self):
        reg = ConvNetRegressor(LAYERS, max_iter=1).fit(X, Y)
        for draw in (
            lambda: SaliencyDisplay.from_estimator(reg, X[0]),
            lambda: MistakesDisplay.from_estimator(reg, X, Y),
        ):
            with pytest.raises(ValueError, match="needs a classifier, got ConvNetRegressor"):
                draw()


class TestMistakes:
    def test_the_most_confident_first(self, clf):
        display = MistakesDisplay.from_estimator(clf, X, Y, n=5)
        p = clf.predict_proba(X)
        wrong = [(-p[k].max(), k) for k in range(len(X)) if p[k].argmax() != Y[k]]
        np.testing.assert_array_equal(display.rows, [k for _, k in sorted(wrong)[:5]])
        for k, axes, artist in zip(display.rows, display.axes_, display.images_, strict=True):
            title = f"true {Y[k]}\npredicted {p[k].argmax()} ({p[k].max():.0%})"
            assert axes.get_title() == title
            np.testing.assert_allclose(artist.get_array(), X[k] / X[k].max())
        assert display.ax_.get_title() == f"{len(wrong)} of 200 wrong"

    @pytest.mark.parametrize("data", ["grey", "one channel", "coloured"])
    def test_of_predictions(self, clf, coloured, data):
        model, images, y = coloured if data == "coloured" else (clf, X, Y)
        p, last = model.predict_proba(images), images
        if data == "coloured":
            last = images.transpose(0, 2, 3, 1)
        elif data == "one channel":
            last = X[..., None]
        expected = MistakesDisplay.from_estimator(model, images, y, n=5)
        for options in ({"classes": model.classes_}, {}):
            display = MistakesDisplay.from_predictions(last.tolist(), y.tolist(), p, n=5, **options)
            assert vars(display).keys() == vars(expected).keys()
            for name in ("images", "y_true", "y_pred", "probabilities", "rows", "n_mistakes", "n_samples"):
                np.testing.assert_array_equal(getattr(display, name), getattr(expected, name))
        figure, axes = plt.subplots()
        assert MistakesDisplay.from_predictions(last, y, p, ax=axes).ax_ is axes

    @pytest.mark.parametrize(
        "wrong, message",
        [
            ({"X": X.reshape(200, -1)}, r"X must have shape .*got \(200, 64\)"),
            ({"y_true": Y[:5]}, "inconsistent numbers of samples"),
            ({"probabilities": np.ones((200, 9))}, "have 9 columns, but there are 10 classes.*as classes"),
            ({"probabilities": Y}, r"shape \(n_samples, n_classes\), as predict_proba .* got \(200,\)"),
            ({"classes": [1, 2]}, r"have 10 columns, but there are 2 classes, \[1, 2\]"),
            ({"n": 0}, "from_predictions: n must be an int of at least 1, got 0"),
        ],
    )
    def test_refuses_predictions_that_do_not_fit(self, wrong, message):
        given = {"X": X, "y_true": Y, "probabilities": np.ones((200, 10)), **wrong}
        with pytest.raises(ValueError, match=message):
            MistakesDisplay.from_predictions(**given)

    def test_without_mistakes(self, clf):
        right = clf.predict(X) == Y
        display = MistakesDisplay.from_estimator(clf, X[right], Y[right])
        assert len(display.axes_) == 0 and display.ax_.get_title().startswith("0 of ")

    def test_of_words_and_colours(self, coloured):
        display = MistakesDisplay.from_estimator(*coloured, n=2)
        assert "cat" in display.axes_[0].get_title() and display.images_[0].get_array().shape == (8, 6, 3)

    @pytest.mark.parametrize("form", [str, object])
    def test_of_any_text(self, form):
        names = np.array([r"$\foo{$", "$}$", "_^"], form)[Y % 3]
        clf = ConvNetClassifier([Dense(2)], max_iter=1, random_state=0).fit(X, names)
        for display in (
            MistakesDisplay.from_estimator(clf, X, names),
            SaliencyDisplay.from_estimator(clf, X[0], target="$}$"),
        ):
            display.figure_.canvas.draw()  # which would parse formulas
        assert display.ax_.get_title() == "Saliency for class $}$"

    def test_refuses_labels_of_another_kind(self, clf):
        with pytest.raises(
            ValueError, match=r"no label in y is one of the classes, \[0, 1, .*\]; the first label is '0'"
        ):
            MistakesDisplay.from_estimator(clf, X, Y.astype(str))

    def test_refuses(self, clf):
        with pytest.raises(ValueError, match="n must be an int of at least 1, got 0"):
            MistakesDisplay.from_estimator(clf, X, Y, n=0)
        hinge = ConvNetClassifier(LAYERS, loss="squared_error", max_iter=1).fit(X, Y)
        several = ConvNetClassifier(LAYERS, loss="binary_cross_entropy", max_iter=1).fit(X, np.eye(10)[Y])
        for model in (hinge, several):
            with pytest.raises(ValueError, match="predicts one label per sample and probabilities"):
                MistakesDisplay.from_estimator(model, X, Y)
