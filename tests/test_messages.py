"""Warnings and errors with advice for data and layers that probably differ from what a new user intended."""

import datetime
import decimal
import warnings

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score

from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from skconvnet.layers import Conv2D, Dense, LogSoftmax, MaxPool2D, Output, Softmax

DIGITS = load_digits(return_X_y=True)
images, y = DIGITS[0][:120].reshape(-1, 8, 8) / 16, DIGITS[1][:120]
colours = np.repeat(images[..., None], 3, -1)
L = [Conv2D(4, 3, activation="relu"), MaxPool2D(2)]


def make(layers=(), cls=ConvNetClassifier, **params):
    return cls([*L, *layers], **{"max_iter": 1, "random_state": 0, **params})


@pytest.fixture(scope="module")
def clf():
    return make().fit(images, y)


def list_files(caught):
    """Return where warnings come from, without those of a fit that is worse than a constant."""
    return [warning.filename for warning in caught if warning.category is UserWarning]


class TestSecondOutputs:
    """Another output layer is added after one of the user's own."""

    @pytest.mark.parametrize(
        "last, written",
        [
            ([Dense(10, activation="softmax")], r"Dense\(units=10, activation='softmax'\)"),
            ([Dense(10, activation="sigmoid"), None], r"Dense\(units=10, activation='sigmoid'\)"),
            ([Dense(10, activation=LogSoftmax())], r"Dense\(units=10, activation=LogSoftmax\(\)\)"),
            ([Dense(10), Softmax()], r"Dense\(units=10\), Softmax\(\)"),
        ],
    )
    def test_are_warned_of(self, last, written):
        message = rf"layers end in {written}, and an output layer of 10 units is added after .* Leave"
        with pytest.warns(UserWarning, match=message) as caught:
            clf = make(last, max_iter=2, warm_start=True).fit(images, y)
        assert list_files(caught) == [__file__]
        clf.fit(images, y)
        with pytest.warns(UserWarning, match=message) as caught:
            make(last).partial_fit(images, y, classes=range(10))
        assert list_files(caught) == [__file__]

    @pytest.mark.parametrize("loss, n_outputs", [("cross_entropy", 2), ("binary_cross_entropy", 1)])
    def test_of_one_unit_are_warned_of(self, loss, n_outputs):
        with pytest.warns(UserWarning, match=f"units=1, .*output layer of {n_outputs} unit"):
            make([Dense(1, activation="sigmoid")], loss=loss).fit(images, y % 2)

    def test_of_regressors_are_warned_of(self):
        with pytest.warns(UserWarning, match="units=1, .*output layer of 1 unit is"):
            make([Dense(1, activation="sigmoid")], ConvNetRegressor).fit(images, y / 10)

    @pytest.mark.parametrize(
        "last",
        [
            [],
            [Dense(10)],
            [Dense(10, activation="relu")],
            [Dense(9, activation="softmax")],
            [Dense(1, activation="sigmoid")],
            [Dense(10, activation="softmax"), Output()],
            [Dense(10), LogSoftmax(), Output(dense=False)],
        ],
    )
    def test_hidden_layers_and_chosen_outputs_pass(self, last):
        make(last).fit(images, y)


@pytest.mark.parametrize(
    "use",
    [
        lambda clf: clf.fit(images, y),
        lambda clf: clf.partial_fit(images, y, classes=range(10)),
        lambda clf: ConvNetTransformer(clf).fit(images, y),
    ],
    ids=["fit", "partial_fit", "transformer"],
)
def test_warnings_point_at_the_line_that_calls_the_package(use):
    with pytest.warns(UserWarning, match="layers end in") as caught:
        use(make([Dense(10, activation="softmax")]))
    assert list_files(caught) == [__file__]


def test_warnings_point_at_code_without_a_module():
    code = compile("clf.fit(images, y)", "<typed>", "exec")
    with pytest.warns(UserWarning, match="layers end in") as caught:
        exec(code, {"clf": make([Dense(10, activation="softmax")]), "images": images, "y": y})
    assert caught[0].filename == "<typed>"


class TestChannelsFirst:
    """Channels come first, but are read as if they came last."""

    X = np.random.default_rng(0).random((20, 3, 8, 8))
    y = np.arange(20) % 2

    @pytest.mark.parametrize("channels", [1, 3])
    def test_is_warned_of(self, channels):
        message = (
            rf"X of shape \(n, {channels}, 8, 8\) is read as {channels}x8 pixels in 8 channels; if channels "
            rf'come first, set data_format="channels_first"\.'
        )
        clf = ConvNetClassifier([Dense(4)], max_iter=2)
        with pytest.warns(UserWarning, match=message) as caught:
            clf.fit(self.X[:, :channels], self.y)
        assert list_files(caught) == [__file__]
        clf.predict(self.X[:, :channels])

    def test_is_suggested_where_a_layer_does_not_fit(self):
        rows, layers = self.X.reshape(20, -1), [MaxPool2D(), MaxPool2D()]
        message = r'needs an input of .* shape \(3, 8, 8\) .* need data_format="channels_first"\.$'
        with pytest.raises(ValueError, match=message):
            ConvNetClassifier(layers, input_shape=(3, 8, 8)).fit(rows, self.y)
        for params in ({"data_format": "channels_first"}, {}):
            with pytest.raises(ValueError, match=r"pool less often\.$"):
                ConvNetClassifier(layers * 2, input_shape=(8, 8, 3)[:: -1 if params else 1], **params).fit(
                    rows, self.y
                )

    def test_intended_shapes_pass(self):
        def fit(X, **params):
            ConvNetClassifier([Dense(4)], max_iter=1, **params).fit(X, self.y)

        fit(self.X, data_format="channels_first")
        fit(self.X, input_shape=(3, 8, 8))
        for shape in ((2, 8, 8), (3, 8, 7), (3, 4, 4), (8, 8, 3), (3, 8)):
            fit(np.resize(self.X, (20, *shape)))


class TestOtherImages:
    """The shape of images differs from that of the training images."""

    @pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
    def test_one_image(self, clf, method):
        with pytest.raises(
            ValueError, match=r"X of shape \(8, 8\) is read as 8 rows; for one image give X\[None"
        ):
            getattr(clf, method)(images[0])
        assert len(getattr(clf, method)(images[0][None])) == 1

    def test_one_image_with_channels(self, clf):
        with pytest.raises(
            ValueError, match=r"X of shape \(8, 8, 1\) is read as 8 images; for one image give X\[N"
        ):
            clf.predict(images[0][..., None])
        with pytest.raises(ValueError, match=r"X of shape \(8, 8\) is read as 8 rows; for one"):
            clf.predict(images[0].tolist())

    @pytest.mark.parametrize(
        "X, shape", [(colours, "8, 8, 3"), (images.reshape(-1, 4, 16), "4, 16"), (images[:, 1:], "7, 8")]
    )
    def test_many(self, clf, X, shape):
        message = rf"X's images have shape \({shape}\), the network was fitted on \(8, 8, 1\)"
        for use in (
            lambda: clf.predict(X),
            lambda: clf.score(X, y),
            lambda: clf.partial_fit(X, y),
            lambda: make().fit(images, y, X_val=X, y_val=y),
            lambda: (
                make(data_format="channels_last", input_shape=(8, 8))
                .fit(images.reshape(-1, 64), y)
                .predict(X)
            ),
        ):
            with pytest.raises(ValueError, match=message):
                use()

    def test_errors_for_rows_are_those_of_scikit_learn(self, clf):
        with pytest.raises(
            ValueError, match="X has 63 features, but ConvNetClassifier is expecting 64 features"
        ):
            clf.predict(images.reshape(-1, 64)[:, 1:])
        with pytest.raises(ValueError, match="Expected 2D array, got 1D array instead.*"):
            clf.predict(images[0].ravel())

    def test_the_mode_to_convert_to_is_that_of_the_training_images(self, clf):
        coloured = make().fit(colours, y)
        transparent = make(data_format="channels_first").fit(np.zeros((120, 4, 8, 8)), y)
        for fitted, X, remedy in (
            (clf, colours, r'Convert images to one mode first, such as image\.convert\("L"\)'),
            (coloured, images, r'image\.convert\("RGB"\)'),
            (coloured, np.zeros((2, 8, 8, 4)), r'image\.convert\("RGB"\)'),
            (transparent, np.zeros((2, 3, 8, 8)), r'image\.convert\("RGBA"\)'),
            (clf, images[:, 1:], "Resize images"),
        ):
            with pytest.raises(ValueError, match=remedy):
                fitted.predict(X)


class TestCollections:
    """X is a list or a data frame of images."""

    @pytest.mark.parametrize("odd", [(10, 9, 3), (8, 9, 3), (8, 8), (9, 8, 3)])
    @pytest.mark.parametrize("form", [list, pd.Series])
    def test_images_that_differ_in_shape(self, odd, form):
        X = list(colours)
        X[99] = np.zeros(odd)
        message = rf"differ in shape: \(8, 8, 3\) at index 0 and \({str(odd)[1:-1]}\) at index 99.*(Resize|Convert) images"
        with pytest.raises(ValueError, match=message):
            make().fit(form(X), y)

    @pytest.mark.parametrize(
        "collect, hint",
        [
            (lambda X: pd.Series(list(X)), r"np\.stack\(X\)"),
            (lambda X: pd.Series(list(X)).to_numpy(), r"np\.stack\(X\)"),
            (lambda X: pd.DataFrame({"image": list(X)}), r"np\.stack\(X\['image'\]\)"),
            (lambda X: pd.DataFrame({"image": list(X)}).to_numpy(), r"np\.stack\(X\[:, 0\]\)"),
        ],
    )
    def test_arrays_as_objects(self, clf, collect, hint):
        for use in (lambda X: make().fit(X, y), clf.predict):
            with pytest.raises(ValueError, match=f"X holds an array .*: {hint}"):
                use(collect(images))

    @pytest.mark.parametrize("form", [list, np.array, pd.Series, lambda X: pd.DataFrame({"file": X})])
    def test_file_names(self, clf, form):
        X = form([f"{k}.png" for k in range(120)])
        for use in (lambda X: make().fit(X, y), clf.predict):
            with pytest.raises(
                ValueError, match=r"X holds text, such as file names; load the images: np\.stack"
            ):
                use(X)

    @pytest.mark.parametrize("form", [list, pd.Series, lambda X: np.array(X, dtype=object)])
    def test_dictionaries(self, clf, form):
        X = form([{"picture": image, "label": label} for image, label in zip(images, y)])
        for use in (lambda X: make().fit(X, y), clf.predict):
            with pytest.raises(
                ValueError, match=r"X holds a dictionary.* np\.stack\(\[sample\['picture'\] for"
            ):
                use(X)

    @pytest.mark.parametrize("pair", [tuple, list, lambda two: np.array(two, dtype=object)])
    @pytest.mark.parametrize("form", [list, lambda X: np.array(X, dtype=object)])
    def test_pairs(self, clf, pair, form):
        X = []
        for image, label in zip(images, y):
            one = np.empty(2, dtype=object)
            one[:] = [image, label]
            X.append(pair(one))
        for use in (lambda X: make().fit(X, y), clf.predict):
            with pytest.raises(ValueError, match=r"X has pairs, such as \(image, label\): give np.stack"):
                use(form(X))

    def test_lists_of_images_pass(self, clf):
        np.testing.assert_array_equal(make().fit(list(images), y).predict(list(images)), clf.predict(images))


class TestLabels:
    """y has a form that probably means something else."""

    @pytest.mark.parametrize("form", [np.asarray, pd.DataFrame, lambda Y: Y.astype(bool)])
    def test_one_hot(self, form):
        one_hot = form(np.eye(10)[y])
        with pytest.raises(
            ValueError, match=r"^y looks one-hot: give the labels, y\.argmax\(axis=1\).*set loss="
        ):
            make().fit(images, one_hot)
        make(loss="binary_cross_entropy").fit(images, one_hot)

    @pytest.mark.parametrize(
        "label, kinds", [(b"a", "bytes and int"), ("a", "int and str"), ((1, 2), "int and tuple")]
    )
    def test_of_several_kinds(self, label, kinds):
        labels = y.astype(object)
        labels[5] = label
        for use in (
            lambda: make().fit(images, labels),
            lambda: make().partial_fit(images, labels, classes=range(10)),
            lambda: make().fit(images, y, X_val=images, y_val=labels),
        ):
            with pytest.raises(ValueError, match=f"y must have labels of one kind.*, got {kinds}"):
                use()

    @pytest.mark.parametrize(
        "label, kind", [(datetime.date(2020, 1, 1), "date"), (decimal.Decimal(1), "Decimal"), ({}, "dict")]
    )
    def test_of_a_kind_that_is_no_label(self, label, kind):
        with pytest.raises(ValueError, match=f"y must have labels of one kind, .*, got {kind}"):
            make().fit(images, [label] * 120)

    @pytest.mark.parametrize("none", [None, np.nan, pd.NA, pd.NaT])
    @pytest.mark.parametrize("form", [list, np.array, pd.Series], ids=["list", "array", "series"])
    def test_that_are_missing(self, none, form):
        """In lists and arrays of objects as well as in columns; of a regressor, too."""
        labels = [none if label == 3 else str(label) for label in y]
        numbers = [none if label == 3 else label for label in y]
        calls = [
            lambda: make().fit(images, form(labels)),
            lambda: make().partial_fit(images, form(labels), [str(k) for k in range(10)]),
            lambda: make().fit(images, y.astype(str), X_val=images, y_val=form(labels)),
            lambda: make().fit(images, y.astype(str)).score(images, form(labels)),
        ]
        if none is not np.nan:  # NumPy then makes numbers of the others
            calls += [lambda: make(cls=ConvNetRegressor).fit(images, form(numbers))]
        for call in calls:
            if none is np.nan and form is not pd.Series:  # NumPy makes text of it
                continue
            with pytest.raises(
                ValueError, match="y has 13 missing values; leave out samples without a label"
            ):
                call()

    def test_that_are_arrays(self):
        labels = pd.Series([np.eye(10)[label] for label in y]).to_numpy()
        with pytest.raises(ValueError, match=r"y holds an array for each sample; .* np\.stack\(y\)"):
            make().fit(images, labels)

    def test_that_a_mask_hides(self):
        with pytest.raises(ValueError, match="y has 13 missing values"):
            make().fit(images, np.ma.masked_equal(y, 3))

    @pytest.mark.parametrize(
        "labels, kind",
        [
            ((label for label in y), "generator"),
            (zip(y), "zip"),
            (dict(enumerate(y)), "dict"),
            (dict(enumerate(y)).values(), "dict_values"),
            (set(y.tolist()), "set"),
            ("digit", "str"),
            (3, "int"),
            (np.int64(3), "int64"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_that_are_no_array(self, labels, kind):
        for call in (
            lambda: make().fit(images, labels),
            lambda: make().partial_fit(images, labels, range(10)),
            lambda: make().fit(images, y, X_val=images, y_val=labels),
            lambda: make(cls=ConvNetRegressor).fit(images, labels),
        ):
            with pytest.raises(TypeError, match=f"y must be an array or a list .* of type {kind}"):
                call()
        with pytest.raises(TypeError, match="classes must be an array or a list"):
            make().partial_fit(images, y, labels)

    @pytest.mark.parametrize("form", [lambda y: y.astype("S"), lambda y: y.astype("S").astype(object)])
    def test_bytes(self, form):
        with pytest.raises(TypeError, match=r"y has labels of type bytes. Give text: \[label.decode"):
            make().fit(images, form(y))

    def test_of_other_classes_than_before(self):
        for resume in (make(warm_start=True).fit(images, y).fit, make().fit(images, y).partial_fit):
            with pytest.raises(ValueError, match=r"labels \[10\], .* fit a new estimator with init_from="):
                resume(images, y + 1)

    def test_objects_of_one_kind_pass(self, clf):
        again = make().fit(images, y.astype(str).astype(object))
        np.testing.assert_array_equal(again.predict(images), clf.predict(images).astype(str))

    def test_class_weight_of_unknown_labels(self):
        with pytest.raises(
            ValueError, match=r"class_weight has labels \[77\], .*; its labels are \[0, 1, 2, 3, 4, 5"
        ):
            make(class_weight={77: 2, 1: 3}).fit(images, y)
        make(class_weight={1: 3}).fit(images, y)

    def test_weights_by_name(self):
        with pytest.raises(ValueError, match='sample_weight must be numbers.* set class_weight="balanced"'):
            make().fit(images, y, sample_weight="balanced")

    @pytest.mark.parametrize("wrap", [list, pd.Series], ids=["list", "series"])
    @pytest.mark.parametrize("longer", [(), ("c",)], ids=["pairs", "ragged"])
    def test_tuples_of_labels(self, wrap, longer):
        labels = wrap([("a", "b")] * 119 + [("b", "a", *longer)])
        for loss in ("cross_entropy", "binary_cross_entropy"):
            with pytest.raises(ValueError, match="MultiLabelBinarizer"):
                make(loss=loss).fit(images, labels)
        if isinstance(labels, list) and longer:
            with pytest.raises(ValueError, match="^X_val and y_val: .*MultiLabelBinarizer"):
                make().fit(images, y, X_val=images, y_val=labels)

    def test_impossible_splits(self):
        with pytest.raises(ValueError, match=r"number of classes = 10\. Give X_val"):
            make(early_stopping=True, validation_fraction=0.05).fit(images, y)
        with pytest.raises(ValueError, match=r"[^.]\. Give X_val"):
            make(early_stopping=True).fit(images[:10], y[:10])


def test_repr_of_a_network(clf):
    assert repr(clf.network_) == "<Network of 3 layers on (1, 8, 8): 410 parameters in float32>".replace(
        "410", str(clf.network_.n_parameters)
    ).replace("float32", clf.network_.dtype.name)


def test_saving_needs_a_folder(clf, tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*none'? to write m\.safetensors to"):
        clf.save(tmp_path / "none" / "m.safetensors")


def test_ordinary_data_give_no_warning():
    with warnings.catch_warnings(record=True) as caught:
        ConvNetClassifier(max_iter=1).fit(images, y).predict(images)
        ConvNetRegressor(max_iter=1).fit(colours, y).predict(colours)
    assert not caught


class Samples:
    """A data set of images with labels that can be indexed, such as those of PyTorch."""

    def __len__(self):
        return len(images)

    def __getitem__(self, k):
        return images[k], y[k]


@pytest.mark.parametrize(
    "X, kind",
    [
        ((image for image in images), "generator"),
        (zip(images, y), "zip"),
        (map(np.ravel, images), "map"),
        ({"images": images}, "dict"),
        (Samples(), "Samples"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_streams_and_data_sets_as_X(clf, X, kind):
    for call in (
        lambda: make().fit(X, y),
        lambda: make().partial_fit(X, y, range(10)),
        lambda: clf.predict(X),
    ):
        with pytest.raises(
            TypeError, match=rf"array of all samples, got .* of type {kind}\. .* to partial_fit"
        ):
            call()


def test_other_arrays_of_all_samples_as_X(clf):
    expected = clf.predict(images[:5])
    for X in (list(images[:5]), tuple(images[:5]), memoryview(images[:5].copy())):
        np.testing.assert_array_equal(clf.predict(X), expected)


@pytest.mark.parametrize(
    "X, y, message",
    [
        (list(zip(images, y)), y, r"X has pairs, such as \(image, label\): give np.stack"),
        ([colours[0], images[1]], y[:2], r"differ in shape: .* Convert images to one mode first"),
        ([images[0], images[1][:5]], y[:2], r"differ in shape: .* Resize images, or pad or cut signals"),
        (images, images, r"y must have one label .*, got an array of shape \(120, 8, 8\). Is it X\?"),
        (images, np.stack([y, y], axis=1), "use sklearn.multioutput.MultiOutputClassifier, with X as rows"),
        (images, pd.Series(y, dtype="Int64").mask(y > 7), "y has .* missing values; leave out samples"),
        (images, pd.Series(y.astype(str), dtype="string").mask(y == 3), "y has .* missing values; leave out"),
    ],
)
def test_wrong_samples_and_labels(X, y, message):
    with pytest.raises(ValueError, match=message):
        make().fit(X, y)


def test_one_image_without_a_batch(clf):
    with pytest.raises(ValueError, match=r"for one image give X\[None\], or \[X\] if it is no array"):
        clf.predict(images[0])
    np.testing.assert_array_equal(clf.predict([images[0]]), clf.predict(images[:1]))


class TestPictures:
    """Images of Pillow."""

    grey = [PIL.Image.fromarray((16 * image).astype(np.uint8) * 15) for image in images]
    rgb = [image.convert("RGB") for image in grey]

    @pytest.mark.parametrize("mode", ["grey", "rgb"])
    def test_one_is_a_batch(self, mode):
        pictures = getattr(self, mode)
        fitted = make(max_iter=2).fit(pictures, y)
        for method in (fitted.predict, fitted.predict_proba, fitted.decision_function):
            np.testing.assert_array_equal(method(pictures[5]), method(pictures)[5:6])
        assert fitted.score(pictures[5], y[5:6]) in (0, 1)
        steps = fitted.t_
        assert fitted.partial_fit(pictures[5], y[5:6]).t_ == steps + 1

    def test_one_of_another_shape(self):
        fitted = make().fit(self.rgb, y)
        with pytest.raises(ValueError, match=r'shape \(8, 8\), .* on \(8, 8, 3\)\. .*convert\("RGB"\)'):
            fitted.predict(self.grey[0])
        with pytest.raises(ValueError, match=r"shape \(9, 8, 3\), .* on \(8, 8, 3\)\. Resize"):
            fitted.predict(self.rgb[0].resize((8, 9)))

    def test_with_a_palette(self):
        palette = [image.convert("P") for image in self.rgb]
        fitted = make().fit(self.rgb, y)
        for use in (lambda: make().fit(palette, y), lambda: fitted.predict(palette[0])):
            with pytest.raises(ValueError, match=r'X has images with a palette, .* image\.convert\("RGB"\)'):
                use()
        make().fit([np.asarray(image) for image in palette], y)


@pytest.mark.parametrize(
    "form, kind",
    [
        (lambda y: y.astype(object), "i"),
        (lambda y: pd.DataFrame({"digit": y, "name": "a"}).to_numpy()[:, 0], "i"),
        (lambda y: pd.Series(y, dtype="Int64"), "i"),
        (lambda y: pd.array(y, dtype="Int64"), "i"),
        (lambda y: (y > 4).astype(object), "b"),
        (lambda y: pd.Series(y > 4, dtype="boolean"), "b"),
        (lambda y: (y + 0.0).astype(object), "f"),
        (lambda y: y.astype(str).astype(object), "O"),
        (lambda y: pd.Series(y.astype(str), dtype="string"), "O"),
        (lambda y: pd.Categorical(y), "i"),
    ],
)
def test_labels_in_arrays_of_objects(form, kind):
    """They are labels as in a plain array, in every method that takes labels."""
    labels = form(y)
    plain = np.array(list(labels))
    clf, expected = make(max_iter=3).fit(images, labels), make(max_iter=3).fit(images, plain)
    assert clf.classes_.dtype.kind == kind
    np.testing.assert_array_equal(clf.classes_.astype(plain.dtype), expected.classes_)
    np.testing.assert_array_equal(clf.predict(images).astype(plain.dtype), expected.predict(images))
    assert clf.score(images, labels) == clf.score(images, plain) == expected.score(images, plain)
    again = make().partial_fit(images, labels, classes=labels)
    np.testing.assert_array_equal(again.classes_.astype(plain.dtype), expected.classes_)
    make().fit(images, labels, X_val=images, y_val=labels)
    assert np.isfinite(cross_val_score(make(), images, labels, cv=2)).all()
