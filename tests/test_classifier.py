"""The classifier: forms of images, labels, weights, determinism, and errors for wrong input."""

import pickle
import signal
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skconvnet import ConvNetClassifier, ConvNetTransformer
from skconvnet.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D, Output, Standardize
from skconvnet.optimizers import SGD

LAYERS = [Conv2D(4, padding="same", activation="relu", name="stem"), MaxPool2D()]


def make_images(n=60, shape=(6, 5, 3), classes=3, seed=0):
    """Return images whose class determines the brightness of one channel."""
    rng = np.random.default_rng(seed)
    X, y = rng.random((n, *shape)), np.arange(n) % classes
    X[..., 0] += y.reshape(-1, 1, 1) * 2
    return X, y


def make_classifier(**params):
    return ConvNetClassifier(**{"layers": LAYERS, "max_iter": 3, "random_state": 0, **params})


def test_digits():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, stratify=y, random_state=0)
    clf = make_classifier(
        layers=[Conv2D(16, padding="same", activation="relu"), MaxPool2D()],
        input_shape=(8, 8),
        max_iter=20,
        learning_rate=0.005,
    )
    assert clf.fit(X_train, y_train).score(X_test, y_test) > 0.96


def test_default_initial_weights_learn_from_few_samples():
    """Within six epochs of 400 digits, where "glorot_uniform" in the output layer reaches half of them."""
    X, y = load_digits(return_X_y=True)
    X, layers = X / 16, [Conv2D(8, padding="same", activation="relu"), MaxPool2D()]
    scores = {"small_uniform": [], "glorot_uniform": []}
    for init in scores:
        for seed in range(3):
            clf = make_classifier(
                layers=[*layers, Output(init=init)],
                input_shape=(8, 8),
                max_iter=6,
                batch_size=32,
                random_state=seed,
            )
            scores[init].append(clf.fit(X[:400], y[:400]).score(X[400:600], y[400:600]))
    assert Output() == Output(init="small_uniform")
    assert np.median(scores["small_uniform"]) > 0.7 > 0.65 > np.median(scores["glorot_uniform"])


class TestImageForms:
    """Results are bitwise identical for every form of the same images."""

    X, y = make_images()

    def fit_and_predict(self, X, **params):
        clf = make_classifier(**params).fit(X, self.y)
        return clf, clf.predict_proba(X)

    @pytest.fixture
    def expected(self):
        return self.fit_and_predict(self.X)[1]

    def test_rows(self, expected):
        rows = self.X.reshape(60, -1)
        clf, p = self.fit_and_predict(rows, input_shape=(6, 5, 3))
        np.testing.assert_array_equal(p, expected)
        assert clf.input_shape_ == (6, 5, 3) and clf.n_features_in_ == 90
        np.testing.assert_array_equal(clf.predict_proba(self.X), expected)

    def test_only_rows_have_features(self):
        """n_features_in_ counts the columns of X; images have input_shape_ instead."""
        rows = self.X.reshape(60, -1)
        for X, params in (
            (self.X, {}),
            (list(self.X), {}),
            (self.X[..., 0], {}),
            (self.X, {"data_format": "channels_first"}),
        ):
            clf = make_classifier(**params).fit(X, self.y)
            assert not hasattr(clf, "n_features_in_") and clf.input_shape_[0] in (3, 6)
        clf = make_classifier(input_shape=(6, 5, 3)).fit(rows, self.y)
        transformer = ConvNetTransformer(make_classifier(input_shape=(6, 5, 3))).fit(rows, self.y)
        assert clf.n_features_in_ == transformer.n_features_in_ == 90
        clf.partial_fit(self.X, self.y)
        assert clf.n_features_in_ == 90
        frame = pd.DataFrame(rows, columns=[f"p{k}" for k in range(90)])
        assert len(transformer.fit(frame, self.y).feature_names_in_) == 90
        for model in (clf.fit(self.X, self.y), transformer.fit(self.X, self.y)):
            assert not hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_")
        np.testing.assert_array_equal(clf.predict(rows), clf.predict(self.X))
        message = "X has 89 features, but ConvNetClassifier is expecting 90 features as input"
        for call in (clf.predict, lambda X: clf.partial_fit(X, self.y), transformer.transform):
            with pytest.raises(ValueError, match=message):
                call(rows[:, 1:])

    def test_channels_first(self, expected):
        X = self.X.transpose(0, 3, 1, 2)
        clf, p = self.fit_and_predict(X, data_format="channels_first")
        np.testing.assert_array_equal(p, expected)
        assert clf.input_shape_ == (3, 6, 5)
        rows = np.ascontiguousarray(X).reshape(60, -1)
        _, p = self.fit_and_predict(rows, data_format="channels_first", input_shape=(3, 6, 5))
        np.testing.assert_array_equal(p, expected)

    def test_without_channel(self):
        X = self.X[..., 0]
        expected = self.fit_and_predict(X[..., None])[1]
        clf, p = self.fit_and_predict(X)
        np.testing.assert_array_equal(p, expected)
        assert clf.input_shape_ == (6, 5, 1)
        np.testing.assert_array_equal(self.fit_and_predict(X, data_format="channels_first")[1], expected)
        np.testing.assert_array_equal(
            self.fit_and_predict(X.reshape(60, -1), input_shape=[6, 5])[1], expected
        )

    def test_strides_lists_frames_and_memory_maps(self, expected, tmp_path):
        np.save(tmp_path / "X.npy", self.X)
        forms = [
            np.asfortranarray(self.X),
            np.ascontiguousarray(self.X[:, ::-1])[:, ::-1],
            np.repeat(self.X, 2, axis=0)[::2],
            self.X.tolist(),
            self.X.astype(">f8"),
            np.load(tmp_path / "X.npy", mmap_mode="r"),
        ]
        unaligned = np.empty(self.X.nbytes + 1, np.uint8)[1:].view(np.float64)
        unaligned = unaligned.reshape(self.X.shape)
        unaligned[...] = self.X
        assert not unaligned.flags.aligned
        for X in [*forms, unaligned]:
            np.testing.assert_array_equal(self.fit_and_predict(X)[1], expected)
        frame = pd.DataFrame(self.X.reshape(60, -1)).add_prefix("pixel")
        clf, p = self.fit_and_predict(frame, input_shape=(6, 5, 3))
        np.testing.assert_array_equal(p, expected)
        assert clf.feature_names_in_[0] == "pixel0"

    @pytest.mark.parametrize(
        "dtype",
        ["uint8", "bool", "int8", "int16", "uint16", "int32", "int64", "float16", "float32"],
    )
    def test_other_dtypes_compute_in_float32(self, dtype):
        X = (self.X * (1 if dtype == "bool" else 50)).astype(dtype)
        clf, p = self.fit_and_predict(X)
        assert p.dtype == np.float32 and clf.network_.dtype == np.float32
        _, same = self.fit_and_predict(X.astype(np.float32))
        np.testing.assert_array_equal(p, same)

    def test_dtype(self, expected):
        assert expected.dtype == np.float64
        assert self.fit_and_predict(self.X, dtype="float32")[1].dtype == np.float32
        assert self.fit_and_predict(self.X.astype("f4"), dtype="float64")[1].dtype == np.float64


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 2],
        [-5, 7, 10**15],
        ["cat", "dog", "eel"],
        np.array(["a", "b", "c"], object),
        [0.0, 1.0, 2.0],
        np.array([3, 1, 2], np.uint8),
    ],
    ids=str,
)
def test_any_label_type(labels):
    X, y = make_images()
    labels = np.asarray(labels)
    clf = make_classifier(max_iter=40, learning_rate=0.01).fit(X, labels[y])
    np.testing.assert_array_equal(clf.classes_, np.unique(labels))
    assert clf.predict(X).dtype == labels.dtype
    assert clf.score(X, labels[y]) > 0.8


def test_two_classes():
    X, y = make_images(classes=2)
    clf = make_classifier(max_iter=20).fit(X, y == 1)
    scores, p = clf.decision_function(X), clf.predict_proba(X)
    assert scores.shape == (60,) and p.shape == (60, 2)
    np.testing.assert_array_equal(clf.predict(X), scores > 0)
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-scores)), rtol=1e-12)
    np.testing.assert_allclose(clf.predict_log_proba(X), np.log(p), rtol=1e-9)


def test_log_probabilities_stay_finite():
    X, y = make_images()
    clf = make_classifier().fit(X, y)
    log_p = clf.predict_log_proba(X * 1e5)
    assert np.isfinite(log_p).all() and (clf.predict_proba(X * 1e5) < 1e-300).any()


class TestSampleWeights:
    X, y = make_images(n=20)

    def weights_of(self, X, y, **fit_params):
        return make_classifier(batch_size=200).fit(X, y, **fit_params).network_.params

    def test_a_weight_of_two_equals_the_sample_twice(self):
        weight = np.ones(20)
        weight[:5] = 2
        X, y = np.concatenate([self.X, self.X[:5]]), np.concatenate([self.y, self.y[:5]])
        np.testing.assert_allclose(
            self.weights_of(self.X, self.y, sample_weight=weight), self.weights_of(X, y), rtol=1e-7
        )

    def test_a_weight_of_zero_equals_no_sample(self):
        weight = np.ones(20)
        weight[[3, 8]] = 0
        keep = weight > 0
        np.testing.assert_allclose(
            self.weights_of(self.X, self.y, sample_weight=weight),
            self.weights_of(self.X[keep], self.y[keep]),
            rtol=1e-7,
        )

    def test_class_weight_of_data_without_some_class(self):
        some = self.y < 2
        X, y = self.X[some], self.y[some]
        weighed = make_classifier(class_weight={1: 3, 2: 0.5}).partial_fit(X, y, classes=[0, 1, 2])
        same = make_classifier().partial_fit(X, y, classes=[0, 1, 2], sample_weight=np.where(y == 1, 3, 1))
        np.testing.assert_array_equal(weighed.network_.params, same.network_.params)
        with pytest.raises(ValueError, match=r"class_weight has labels \[3\]"):
            make_classifier(class_weight={3: 1}).partial_fit(X, y, classes=[0, 1, 2])

    def test_class_weight(self):
        by_class = make_classifier(class_weight={0: 1, 1: 3, 2: 0.5}).fit(self.X, self.y)
        by_sample = make_classifier().fit(self.X, self.y, sample_weight=np.array([1, 3, 0.5])[self.y])
        np.testing.assert_array_equal(by_class.network_.params, by_sample.network_.params)
        own = np.arange(1.0, 21)
        by_both = make_classifier(class_weight={1: 3, 2: 0.5}).fit(self.X, self.y, own)
        by_sample = make_classifier().fit(self.X, self.y, own * np.array([1, 3, 0.5])[self.y])
        np.testing.assert_array_equal(by_both.network_.params, by_sample.network_.params)
        X, y = np.concatenate([self.X, self.X[self.y == 0]]), np.append(self.y, [0] * 7)
        balanced = make_classifier(class_weight="balanced").fit(X, y)
        by_class = len(y) / (3 * np.bincount(y))
        by_sample = make_classifier().fit(X, y, sample_weight=by_class[y])
        np.testing.assert_array_equal(balanced.network_.params, by_sample.network_.params)

    def test_zero_weights_that_leave_one_class(self):
        with pytest.raises(ValueError, match="at least 2 classes, got 1 class: .1."):
            make_classifier().fit(self.X, self.y, sample_weight=self.y == 1)

    @pytest.mark.parametrize("bad", [-1, np.nan, np.inf, None])
    def test_bad_class_weights(self, bad):
        with pytest.raises(ValueError, match="class_weight must have finite values of at least 0"):
            make_classifier(class_weight={0: bad}).fit(self.X, self.y)

    def test_negative_weights(self):
        with pytest.raises(ValueError, match="[Nn]egative"):
            make_classifier().fit(self.X, self.y, sample_weight=self.y - 1)


class TestBinaryCrossEntropy:
    X, y = make_images(n=80)

    def test_two_classes_have_one_output(self):
        two = self.y < 2
        X, y = self.X[two], np.array(["a", "b"])[self.y[two]]
        clf = make_classifier(loss="binary_cross_entropy", learning_rate=0.01, max_iter=100).fit(X, y)
        assert clf.network_.output_shape == (1,)
        assert clf.score(X, y) == clf.history_[-1]["train_score"] == 1
        p, z = clf.predict_proba(X), clf.decision_function(X)
        assert p.shape == (len(X), 2) and z.shape == (len(X),)
        np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-z)), rtol=1e-6)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(clf.predict(X), clf.classes_[(z > 0).astype(int)])
        np.testing.assert_allclose(clf.predict_log_proba(X), np.log(p), rtol=1e-5)

    def test_more_classes(self):
        clf = make_classifier(loss="binary_cross_entropy", learning_rate=0.01, max_iter=100)
        clf.fit(self.X, self.y)
        assert clf.score(self.X, self.y) == clf.history_[-1]["train_score"] == 1
        p, z = clf.predict_proba(self.X), clf.decision_function(self.X)
        sigmoid = 1 / (1 + np.exp(-z))
        np.testing.assert_allclose(p, sigmoid / sigmoid.sum(axis=1, keepdims=True), rtol=1e-6)
        np.testing.assert_allclose(clf.predict_log_proba(self.X), np.log(p), rtol=1e-5)

    def test_the_loss_is_that_of_the_initial_network(self):
        y = (np.random.default_rng(0).random((80, 4)) < 0.4).astype(int)
        options = {"batch_size": 80, "max_iter": 1, "learning_rate": 1e-300, "label_smoothing": 0.2}
        clf = make_classifier(loss="binary_cross_entropy", **options).fit(self.X, y)
        z, t = clf.decision_function(self.X), y * 0.8 + 0.1
        assert clf.loss_ == pytest.approx((np.logaddexp(0, z) - t * z).mean(), rel=1e-6)
        assert clf.history_[0]["train_score"] == pytest.approx(clf.score(self.X, y))


class TestSeveralLabels:
    X, y = make_images(n=90)
    Y = np.stack([y == 0, y > 0, y == 2], axis=1).astype(int)

    def fit(self, Y=Y, **params):
        params = {"loss": "binary_cross_entropy", "learning_rate": 0.02, "max_iter": 100, **params}
        return make_classifier(**params).fit(self.X, Y)

    def test_predictions(self):
        clf = self.fit()
        np.testing.assert_array_equal(clf.classes_, [0, 1, 2])
        p, z = clf.predict_proba(self.X), clf.decision_function(self.X)
        np.testing.assert_allclose(p, 1 / (1 + np.exp(-z)), rtol=1e-6)
        np.testing.assert_allclose(clf.predict_log_proba(self.X), -np.logaddexp(0, -z), rtol=1e-9, atol=1e-15)
        np.testing.assert_array_equal(clf.predict(self.X), (p > 0.5).astype(int))
        assert clf.score(self.X, self.Y) == clf.history_[-1]["train_score"] == 1
        order = np.random.default_rng(0).permutation(90)
        np.testing.assert_array_equal(clf.predict_proba(self.X[order]), p[order])
        np.testing.assert_array_equal(clf.predict_proba(self.X[:1]), p[:1])

    def test_log_probabilities_stay_finite(self):
        clf = self.fit()
        with np.errstate(all="raise"):
            assert np.isfinite(clf.predict_log_proba(self.X * 1e5)).all()

    @pytest.mark.parametrize("form", [np.asfortranarray, np.float64, bool, csr_array, pd.DataFrame])
    def test_forms(self, form):
        Y = self.Y.astype(form) if isinstance(form, type) and form in (np.float64, bool) else form(self.Y)
        np.testing.assert_array_equal(self.fit(Y).network_.params, self.fit().network_.params)

    def test_threads_and_weights(self):
        clf = self.fit(n_threads=1)
        np.testing.assert_array_equal(self.fit(n_threads=3).network_.params, clf.network_.params)
        weight = np.where(self.y == 1, 2.0, 1.0)
        one = make_classifier(loss="binary_cross_entropy", batch_size=200, shuffle=False)
        twice = np.append(np.arange(90), np.flatnonzero(self.y == 1))
        weighted = clone(one).fit(self.X, self.Y, weight).network_.params
        repeated = clone(one).fit(self.X[twice], self.Y[twice]).network_.params
        np.testing.assert_allclose(weighted, repeated, rtol=1e-6, atol=1e-9)

    def test_partial_fit(self):
        whole = self.fit(max_iter=2)
        parts = make_classifier(loss="binary_cross_entropy", learning_rate=0.02)
        parts.partial_fit(self.X, self.Y, classes=range(3)).partial_fit(self.X, self.Y)
        np.testing.assert_array_equal(parts.network_.params, whole.network_.params)
        for wrong in (self.y, self.Y[:, :2]):
            with pytest.raises(ValueError, match=r"y must have shape \('n', 3\), as it had before, got"):
                parts.partial_fit(self.X, wrong)
        with pytest.raises(ValueError, match=r"classes must be range\(3\)"):
            clone(parts).partial_fit(self.X, self.Y, classes=["a", "b", "c"])

    def test_bad_labels(self):
        with pytest.raises(ValueError, match="several labels per sample.*set loss=.binary_cross_entropy."):
            make_classifier().fit(self.X, self.Y)
        with pytest.raises(ValueError, match=r"must be a matrix of 0 and 1.*other values: \[2\]"):
            self.fit(self.Y * 2)
        with pytest.raises(ValueError, match="class_weight is for samples of one class"):
            self.fit(class_weight="balanced")


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
@pytest.mark.parametrize("classes", [2, 3])
def test_squared_and_absolute_error_of_classes(loss, classes):
    X, y = make_images(classes=classes)
    clf = make_classifier(loss=loss, learning_rate=0.02, max_iter=150).fit(X, y)
    assert clf.score(X, y) == clf.history_[-1]["train_score"] == 1
    assert clf.network_.output_shape == (classes,)
    z = clf.decision_function(X)
    assert z.shape == ((len(X),) if classes == 2 else (len(X), classes))
    for method in ("predict_proba", "predict_log_proba"):
        assert not hasattr(clf, method)
        with pytest.raises(AttributeError, match=f"has no attribute '{method}'"):
            getattr(clf, method)
    # the loss of the fitted network decides, not the one that is set for the next fit
    assert not hasattr(clf.set_params(loss="cross_entropy"), "predict_proba")


def test_label_smoothing():
    X, y = make_images()
    options = {"batch_size": 60, "max_iter": 1, "learning_rate": 1e-300}
    clf = make_classifier(label_smoothing=0.3, **options).fit(X, y)
    t = np.eye(3)[y] * 0.7 + 0.1
    assert clf.loss_ == pytest.approx(-(t * clf.predict_log_proba(X)).sum(axis=1).mean(), rel=1e-6)
    for wrong in (-0.1, 1.0, "a"):
        with pytest.raises(ValueError, match="The 'label_smoothing' parameter"):
            make_classifier(label_smoothing=wrong).fit(X, y)


class TestDeterminism:
    X, y = make_images(n=150)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("batch_size", [1, 16, 50, 150])
    def test_threads(self, isa, dtype, batch_size):
        fits = [
            make_classifier(n_threads=n, dtype=dtype, batch_size=batch_size).fit(self.X, self.y)
            for n in (1, 2, 3, 8)
        ]
        for clf in fits[1:]:
            np.testing.assert_array_equal(clf.network_.params, fits[0].network_.params)
            np.testing.assert_array_equal(clf.predict_proba(self.X), fits[0].predict_proba(self.X))
            assert clf.loss_curve_ == fits[0].loss_curve_

    def test_one_sample_alone_or_in_any_batch(self, isa):
        clf = make_classifier(dtype="float32").fit(self.X, self.y)
        p = clf.predict_proba(self.X)
        order = np.random.default_rng(0).permutation(150)
        np.testing.assert_array_equal(clf.predict_proba(self.X[order]), p[order])
        for k in range(0, 150, 7):
            np.testing.assert_array_equal(clf.predict_proba(self.X[k : k + 1])[0], p[k])
            np.testing.assert_array_equal(clf.predict_proba(self.X[k:]), p[k:])

    def test_seed(self):
        state = np.random.get_state()[1].copy()
        a, b = (make_classifier().fit(self.X, self.y).network_.params for _ in range(2))
        c = make_classifier(random_state=1).fit(self.X, self.y).network_.params
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
        np.testing.assert_array_equal(np.random.get_state()[1], state)

    def test_shuffle_changes_the_order_only_if_asked(self):
        rows = [make_classifier(shuffle=s).fit(self.X, self.y).network_.params for s in (False, True)]
        assert (rows[0] != rows[1]).any()


class TestPartialFit:
    X, y = make_images(n=100)

    def test_k_calls_equal_a_fit_of_k_epochs(self):
        whole = make_classifier(max_iter=4).fit(self.X, self.y)
        parts = make_classifier()
        for _ in range(4):
            assert parts.partial_fit(self.X, self.y, classes=[0, 1, 2]) is parts
        np.testing.assert_array_equal(parts.network_.params, whole.network_.params)
        assert parts.n_iter_ == 4 and parts.loss_curve_ == whole.loss_curve_
        assert parts.t_ == whole.t_ == 8

    def test_continues_after_fit_and_pickling(self):
        whole = make_classifier(max_iter=3).fit(self.X, self.y)
        first = make_classifier(max_iter=2).fit(self.X, self.y)
        again = pickle.loads(pickle.dumps(first)).partial_fit(self.X, self.y)
        np.testing.assert_array_equal(again.network_.params, whole.network_.params)
        assert first.n_iter_ == 2

    def test_classes_that_come_later(self):
        some = self.y < 2
        clf = make_classifier().partial_fit(self.X[some], self.y[some], classes=[0, 1, 2])
        assert clf.predict_proba(self.X).shape == (100, 3)
        clf.partial_fit(self.X, self.y)

    def test_unseen_labels(self):
        clf = make_classifier().partial_fit(self.X, self.y, classes=[0, 1, 2])
        before = clf.predict_proba(self.X)
        with pytest.raises(ValueError, match=r"labels \[7\], which are not among the classes \[0, 1, 2\]"):
            clf.partial_fit(self.X, np.where(self.y == 1, 7, self.y))
        np.testing.assert_array_equal(clf.predict_proba(self.X), before)

    def test_first_call_needs_classes(self):
        with pytest.raises(ValueError, match="classes must be passed on the first call"):
            make_classifier().partial_fit(self.X, self.y)

    def test_one_class(self):
        with pytest.raises(ValueError, match="at least 2 classes"):
            make_classifier().partial_fit(self.X, self.y * 0, classes=[0])

    def test_balanced(self):
        with pytest.raises(ValueError, match="give the weights as a dict"):
            make_classifier(class_weight="balanced").partial_fit(self.X, self.y, classes=[0, 1, 2])


def test_fitted_attributes():
    X, y = make_images(n=100)
    clf = make_classifier(layers=None).fit(X, y)
    assert clf.n_iter_ == 3 and clf.t_ == 6
    assert [record["epoch"] for record in clf.history_] == [1, 2, 3]
    assert set(clf.history_[0]) == {
        "epoch",
        "train_loss",
        "train_score",
        "learning_rate",
        "duration",
    }
    assert clf.loss_curve_ == [record["train_loss"] for record in clf.history_]
    assert clf.loss_ == clf.loss_curve_[-1]
    assert pd.DataFrame(clf.history_).shape == (3, 5)
    assert [type(stage.layer).__name__ for stage in clf.network_.stages] == [
        "Conv2D",
        "MaxPool2D",
        "Conv2D",
        "Flatten",
        "Dense",
        "Dense",
    ]


def test_history_is_the_loss_of_the_epoch():
    X, y = make_images(n=40)
    clf = make_classifier(batch_size=40, max_iter=1, shuffle=False).fit(X, y)
    start = make_classifier(batch_size=40, max_iter=1, learning_rate=1e-300).fit(X, y)
    p = start.predict_proba(X)
    record = clf.history_[0]
    assert record["train_loss"] == pytest.approx(-np.log(p[np.arange(40), y]).mean(), rel=1e-12)
    assert record["train_score"] == pytest.approx((p.argmax(axis=1) == y).mean())


def test_verbose_prints_an_aligned_table(capsys):
    X, y = make_images()
    make_classifier(max_iter=12, verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["epoch", "train_loss", "train_score", "learning_rate", "duration"]
    assert len(lines) == 13 and len({len(line) for line in lines}) == 1
    make_classifier().fit(X, y)
    assert capsys.readouterr().out == ""


def test_interrupted_training_leaves_a_usable_model(monkeypatch):
    X, y = make_images()
    clf = make_classifier(max_iter=10)
    draws = []

    class Interrupting(np.random.RandomState):
        def permutation(self, n):
            draws.append(n)
            if len(draws) == 4:
                raise KeyboardInterrupt
            return super().permutation(n)

    with pytest.warns(UserWarning, match="interrupted after 3 whole epochs"):
        clf.set_params(random_state=Interrupting(0)).fit(X, y)
    assert clf.n_iter_ == 3
    expected = make_classifier(max_iter=3).fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))


def test_an_interrupted_partial_fit_raises_and_changes_nothing():
    X, y = make_images()
    clf = make_classifier().fit(X, y)
    before = clf.predict_proba(X)

    class Interrupting(np.random.RandomState):
        def permutation(self, n):
            raise KeyboardInterrupt

    trainer = clf._trainer.copy()
    trainer.rng = Interrupting(0)
    clf._trainer.copy = lambda: trainer
    with pytest.raises(KeyboardInterrupt):
        clf.partial_fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert clf.n_iter_ == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c():
    """After a real signal, the fit ends with a warning at a complete step, and the model predicts."""
    code = """
import numpy as np, signal, warnings
from skconvnet import ConvNetClassifier
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
X, y = np.random.default_rng(0).random((500, 8, 8)), np.arange(500) % 2
clf = ConvNetClassifier(max_iter=10**9, verbose=1, n_threads=2)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    clf.fit(X, y)
print("caught:", caught[0].message, clf.predict_proba(X).shape, np.isfinite(clf.loss_))
"""
    process = subprocess.Popen(
        [sys.executable, "-P", "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "caught: Training interrupted after" in output and "(500, 2) True" in output
    assert process.returncode == 0


def test_many_python_threads_predict_with_one_estimator():
    X, y = make_images(n=150)
    clf = make_classifier(n_threads=2).fit(X, y)
    expected = clf.predict_proba(X)
    with ThreadPoolExecutor(8) as pool:
        for p in pool.map(lambda _: clf.predict_proba(X), range(64)):
            np.testing.assert_array_equal(p, expected)


def test_many_python_threads_fit_at_once():
    X, y = make_images(n=150)
    layers = [Conv2D(4, activation="relu"), BatchNorm(), MaxPool2D(), Dropout(0.3)]
    estimators = [make_classifier(layers=layers, n_threads=2, random_state=seed) for seed in range(8)]
    expected = [clone(clf).fit(X, y) for clf in estimators]
    with ThreadPoolExecutor(8) as pool:
        fitted = list(pool.map(lambda clf: clf.fit(X, y), estimators))
    for clf, alone in zip(fitted, expected):
        np.testing.assert_array_equal(clf.network_.params, alone.network_.params)
        assert clf.loss_curve_ == alone.loss_curve_


def test_scikit_learn_tools():
    X, y = make_images()
    rows = X.reshape(60, -1)
    pipeline = make_pipeline(MinMaxScaler(), make_classifier(input_shape=(6, 5, 3)))
    search = GridSearchCV(
        pipeline,
        {
            "convnetclassifier__layers__stem__filters": [2, 5],
            "convnetclassifier__layers__1__pool_size": [1, (2, 1)],
            "convnetclassifier__optimizer": ["adam", SGD(momentum=0.9)],
        },
        cv=2,
        n_jobs=2,
        error_score="raise",
    ).fit(rows, y)
    best = search.best_estimator_[-1]
    chosen = search.best_params_["convnetclassifier__layers__stem__filters"]
    assert best.network_.weights["stem.weight"].shape == (chosen, 3, 3, 3)
    architectures = {"layers": [[Conv2D(3), Dense(4)], None, LAYERS]}
    search = GridSearchCV(make_classifier(), architectures, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["layers"] in architectures["layers"]
    assert cross_val_score(make_classifier(max_iter=40, learning_rate=0.01), X, y, cv=3).mean() > 0.7
    assert clone(best).layers[0] == best.layers[0]


def test_weight_decay_and_clip_norm_reach_the_optimizer():
    X, y = make_images()
    options = {"optimizer": "sgd", "max_iter": 1, "batch_size": 60, "learning_rate": 0.5}
    plain = make_classifier(**options).fit(X, y).network_
    decayed = make_classifier(weight_decay=0.25, **options).fit(X, y).network_
    start = make_classifier(**{**options, "learning_rate": 1e-300}).fit(X, y).network_
    for key, weight in decayed.weights.items():
        pull = 0.5 * 0.25 * start.weights[key] * key.endswith("weight")
        np.testing.assert_allclose(weight, plain.weights[key] - pull, rtol=1e-12, atol=1e-15)
    clipped = make_classifier(clip_norm=0.125, **options).fit(X, y).network_
    assert np.linalg.norm(clipped.params - start.params) == pytest.approx(0.5 * 0.125)


def test_fit_does_not_touch_parameters():
    X, y = make_images()
    layers = list(LAYERS)
    clf = make_classifier(layers=layers)
    before = repr(clf.get_params())
    clf.fit(X, y)
    assert clf.layers is layers and layers == LAYERS and repr(clf.get_params()) == before


def test_output_layer():
    X, y = make_images()
    assert (
        "output.bias" not in make_classifier(layers=[*LAYERS, Output(bias=False)]).fit(X, y).network_.weights
    )
    clf = make_classifier(layers=[*LAYERS, Flatten(), Dense(3), Output(dense=False)]).fit(X, y)
    assert "output.weight" not in clf.network_.weights


def test_uint8_images_are_not_copied():
    X = np.zeros((3000, 32, 32, 3), np.uint8)
    y = np.arange(3000) % 2
    clf = make_classifier(layers=[MaxPool2D(16)], max_iter=1, n_threads=1)
    tracemalloc.start()
    clf.fit(X, y)
    clf.predict(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 4


def test_standardize_and_validation_do_not_copy_images():
    X = np.zeros((300, 128, 128, 3), np.uint8)
    y = np.arange(300) % 2
    layers = [Standardize(), MaxPool2D(16)]
    clf = make_classifier(layers=layers, max_iter=1, n_threads=1, early_stopping=True)
    tracemalloc.start()
    clf.fit(X, y).fit(X[:100], y[:100], X_val=X, y_val=y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * X.nbytes


class TestBadInput:
    """The error is clear and comes before any work, and an earlier model is unchanged."""

    X, y = make_images()

    @pytest.mark.parametrize(
        "params, message",
        [
            (
                {"layers": [MaxPool2D(), Conv2D(4, 5, name="conv2")]},
                r"Conv2D 'conv2' .*kernel_size=5.* needs an input of at least 5x5 pixels, got 3x2 "
                r"pixels in 3 channels from MaxPool2D '0'\. Use a smaller kernel_size, "
                r"padding=\"same\", or pool later\.",
            ),
            (
                {"layers": [Conv2D(4, 5), MaxPool2D(2, name="pool1")]},
                r"MaxPool2D 'pool1' .* needs an input of at least 2x2 pixels, got 2x1 pixels in 4 "
                r"channels from Conv2D '0'\. Use a smaller pool_size",
            ),
            (
                {"layers": [Conv2D(2, connections=[[1, 0, 1, 1], [1, 1, 1, 1]], name="stem")]},
                r"Conv2D 'stem' .* needs an input of 4 channels, as its connections table of shape "
                r"\(2, 4\) requires, got 6x5 pixels in 3 channels from X\. Give connections the "
                r"shape \(filters, channels\) = \(2, 3\)",
            ),
            (
                {"layers": [Flatten(), Conv2D(2)]},
                r"Conv2D '1' .* needs images \(channels, height, width\), got 90 features from "
                r"Flatten '0'",
            ),
            (
                {"layers": [MaxPool2D(2, padding=2)]},
                r"MaxPool2D '0' .* needs a padding smaller than its window of 2x2 pixels",
            ),
            (
                {"layers": [Dense(4), Output(dense=False)]},
                r"one value for each of the 3 outputs that y requires",
            ),
            ({"layers": [Output(), Dense(4)]}, "Output must be the last"),
            ({"layers": [Dense(4, name="output")]}, 'the name "output" is taken'),
            ({"layers": [Dense(4, name="a"), Dense(3, name="a")]}, "the same name 'a'"),
            ({"layers": ["conv"]}, r"layers\[0\] must be a layer or None, got 'conv'"),
            ({"layers": [Dense]}, r"write it with parentheses"),
            ({"layers": [np.fliplr, Dense(3)]}, r"layers\[0\] must be a layer .*write Augment\(function\)"),
            ({"layers": Dense(4)}, "The 'layers' parameter of ConvNetClassifier must be"),
            ({"input_shape": (6, 4, 3)}, r"input_shape=\(6, 4, 3\) does not fit X"),
            ({"input_shape": (6, 5, 3, 1)}, r"input_shape must be \(height, width\) or"),
            ({"data_format": "nhwc"}, "The 'data_format' parameter"),
            ({"loss": "huber"}, "The 'loss' parameter of ConvNetClassifier must be"),
            ({"learning_rate": 0}, "The 'learning_rate' parameter"),
            ({"weight_decay": -0.1}, "The 'weight_decay' parameter"),
            ({"clip_norm": 0}, "The 'clip_norm' parameter"),
            ({"optimizer": "adamax"}, "The 'optimizer' parameter"),
            ({"n_threads": 0}, "The 'n_threads' parameter"),
            ({"learning_rate": 1e300, "optimizer": "sgd"}, "loss is no longer finite in epoch"),
            ({"layers": [Dense(4, init=lambda *a: np.ones(3))]}, "finite numbers of shape"),
        ],
        ids=lambda value: str(value).partition(" at 0x")[0][:60],
    )
    def test_parameters(self, params, message):
        clf = make_classifier().fit(self.X, self.y)
        before, fitted = clf.predict_proba(self.X), dict(vars(clf))
        clf.set_params(**params)
        with pytest.raises((ValueError, TypeError), match=message):
            clf.fit(self.X, self.y)
        with pytest.raises((ValueError, TypeError), match=message):
            make_classifier(**params).fit(self.X, self.y)
        clf.set_params(**{name: fitted[name] for name in params})
        assert vars(clf) == fitted
        np.testing.assert_array_equal(clf.predict_proba(self.X), before)

    @pytest.mark.parametrize(
        "change, message",
        [
            (lambda X, y: (np.where(X == X[0, 0, 0, 0], np.nan, X), y), "NaN"),
            (lambda X, y: (np.where(X == X[-1, -1, -1, -1], np.inf, X), y), "infinity"),
            (lambda X, y: (X, y * 0), r"at least 2 classes, got 1 class: \[0\]"),
            (lambda X, y: (X[:-1], y), "inconsistent numbers of samples"),
            (lambda X, y: (X[:0], y[:0]), "0 sample"),
            (lambda X, y: (X[:, :0], y), "0 feature"),
            (lambda X, y: (X[None], y), "got 5 dimensions"),
            (lambda X, y: (X + 1j, y), "[Cc]omplex"),
            (lambda X, y: (X, y + 0.5), "Unknown label type"),
            (lambda X, y: (csr_array(X.reshape(60, -1)), y), "[Ss]parse"),
            (lambda X, y: (np.ma.masked_less(X, 0.1), y), "masked array"),
            (lambda X, y: (X.astype("M8[s]"), y), "X must be real numbers, got datetime64"),
            (lambda X, y: (X.astype(str), y), "dtype='numeric' is not compatible|convert"),
        ],
        ids=range(13),
    )
    def test_data(self, change, message):
        clf = make_classifier().fit(self.X, self.y)
        fitted = dict(vars(clf))
        with pytest.raises((ValueError, TypeError), match=message):
            clf.fit(*change(self.X, self.y))
        assert vars(clf) == fitted

    @pytest.mark.parametrize("bad, word", [(np.nan, "NaN"), (np.inf, "infinity")])
    def test_prediction_of_values_that_are_not_finite(self, bad, word):
        clf = make_classifier().fit(self.X, self.y)
        X = self.X.copy()
        X[-1, -1, -1, -1] = bad
        for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
            with pytest.raises(ValueError, match=word):
                getattr(clf, method)(X)
        with pytest.raises(ValueError, match=word):
            clf.partial_fit(X, self.y)

    def test_rows_without_input_shape(self):
        with pytest.raises(ValueError, match="got 90 features from X.*set input_shape="):
            make_classifier().fit(self.X.reshape(60, -1), self.y)

    def test_rows_that_input_shape_does_not_fit(self):
        with pytest.raises(
            ValueError,
            match=r"input_shape=\(6, 6, 3\) needs rows of 108 values, but X has rows of 90",
        ):
            make_classifier(input_shape=(6, 6, 3)).fit(self.X.reshape(60, -1), self.y)

    def test_other_images_than_fitted(self):
        clf = make_classifier().fit(self.X, self.y)
        with pytest.raises(
            ValueError, match=r"X's images have shape \(6, 4, 3\), the network was fitted on \(6, 5, 3\)"
        ):
            clf.predict(self.X[:, :, :4])
        with pytest.raises(ValueError, match=r"X's images have shape \(5, 6, 3\)"):
            clf.predict(self.X.transpose(0, 2, 1, 3))

    def test_values_too_large_for_float32(self):
        X = self.X.copy()
        X[3, 2, 1, 0] = -1e39
        with pytest.raises(ValueError, match='infinity in the float32.*dtype="float64"'):
            make_classifier(dtype="float32").fit(X, self.y)
        clf = make_classifier(dtype="float32").fit(self.X, self.y)
        with pytest.raises(ValueError, match="infinity in the float32"):
            clf.predict(X)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_prediction_that_overflows(self, dtype):
        clf = make_classifier(dtype=dtype).fit(self.X, self.y)
        X = np.full_like(self.X, float(np.finfo(dtype).max) / 2)
        with pytest.raises(ValueError, match=f"outputs overflow {dtype} for this X"):
            clf.predict_proba(X)

    def test_not_fitted(self):
        for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
            with pytest.raises(NotFittedError):
                getattr(make_classifier(), method)(self.X)
