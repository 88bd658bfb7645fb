"""Functions of one's own as layers: the check of the derivative, training, errors, and what cannot be saved."""

import pickle

import numpy as np
import pytest
from scipy import special

import skconvnet
from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from skconvnet._network import Network
from skconvnet.layers import BatchNorm, Conv1D, Conv2D, Dense, Dropout, Function, MaxPool2D, Residual, Tanh

rng = np.random.default_rng(0)
X = rng.random((90, 6, 5, 2))
y = (X[:, :3].mean(axis=(1, 2, 3)) > 0.5) + 1 * (X[:, 3:].mean(axis=(1, 2, 3)) > 0.5)


def tanh_derivative(x):
    return 1 - np.tanh(x) ** 2


def relu(x):
    return np.maximum(x, 0)


def step(x):
    return x > 0


TANH = Function(np.tanh, tanh_derivative)
RELU = Function(relu, step)


def make(layers, cls=ConvNetClassifier, **params):
    return cls(layers, **{"max_iter": 3, "random_state": 0, **params})


def build(tanh):
    """Return layers with tanh in every position that a function may have."""
    return [
        Conv2D(4, padding="same", activation=tanh, name="stem"),
        Residual([Conv2D(4, padding="same"), BatchNorm(), tanh], shortcut=[tanh]),
        MaxPool2D(),
        Dropout(0.2),
        tanh,
        Dense(6, activation=tanh),
    ]


@pytest.mark.parametrize("function, compiled", [(TANH, Tanh()), (RELU, "relu")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_function_trains_like_the_compiled_layer(function, compiled, dtype):
    params = {"dtype": dtype, "batch_size": 30}
    ours = make([Conv2D(4, activation=function), MaxPool2D(), Dense(5, activation=function)], **params)
    expected = make([Conv2D(4, activation=compiled), MaxPool2D(), Dense(5, activation=compiled)], **params)
    ours.fit(X, y), expected.fit(X, y)
    tol = 1e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(ours.network_.params, expected.network_.params, rtol=tol, atol=tol)
    np.testing.assert_allclose(ours.predict_proba(X), expected.predict_proba(X), rtol=tol)
    np.testing.assert_allclose(ours.predict_proba(X[:1]), ours.predict_proba(X)[:1], rtol=1e-6)


def test_any_number_of_threads_gives_the_same_bits():
    fits = [make(build(TANH), n_threads=n, batch_size=40).fit(X, y) for n in (1, 2, 3)]
    compiled = make(build(Tanh()), batch_size=40).fit(X, y)
    np.testing.assert_allclose(fits[0].network_.params, compiled.network_.params, rtol=1e-8, atol=1e-10)
    for other in fits[1:]:
        np.testing.assert_array_equal(other.network_.params, fits[0].network_.params)
        np.testing.assert_array_equal(other.predict_proba(X), fits[0].predict_proba(X))


def test_what_a_function_gets():
    seen = []

    def record(x):
        if x.ndim == 4:
            seen.append(x.copy())
        assert x.flags.writeable and x.flags.c_contiguous
        value = x * 2
        x[...] = np.nan  # it is a copy
        return value

    network = Network([Function(record, lambda x: 2 + 0 * x)], (2, 3, 4), dtype=np.float32)
    images = rng.standard_normal((19, 2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(network.forward(images).reshape(images.shape), images * 2)
    got = np.concatenate(seen, axis=3)  # no elements but those of the samples
    np.testing.assert_array_equal(got, np.moveaxis(images, 0, -1))


def test_signals_vectors_and_features():
    for layers, rows in (([Conv1D(4, activation=TANH)], X[:, :, 0]), ([Dense(4), TANH], X.reshape(90, -1))):
        assert make(layers).fit(rows, y).predict(rows).shape == (90,)
    features = ConvNetTransformer(make([Conv2D(3, name="stem"), TANH]), layer=-1).fit(X, y).transform(X)
    assert np.abs(features).max() <= 1
    assert make([TANH], ConvNetRegressor).fit(X, y).predict(X).shape == (90,)


class TestCheck:
    @pytest.mark.parametrize(
        "wrong", [np.sin, lambda x: -np.cos(x), lambda x: 1.02 * np.cos(x), np.zeros_like]
    )
    def test_a_wrong_derivative_is_refused_with_both_figures(self, wrong):
        with pytest.raises(
            ValueError, match=r"Function: derivative .* is not that of function .*: at "
        ) as caught:
            Function(np.sin, wrong)
        at, rest = str(caught.value).split(": at ")[1].split(" it is ")
        given, difference = rest.split(", but the central difference of the function is ")
        assert float(given) == pytest.approx(float(wrong(np.float64(at))), rel=1e-5, abs=1e-9)
        assert float(difference.rstrip(".")) == pytest.approx(np.cos(float(at)), rel=1e-4)

    @pytest.mark.parametrize(
        "function, derivative",
        [
            (relu, step),
            (np.abs, np.sign),
            (np.exp, np.exp),
            (special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
            (lambda x: x**3, lambda x: 3 * x**2),
            (np.log, lambda x: 1 / x),  # where x > 0
            (lambda x: np.sin(x.astype(np.float32)), np.cos),
            (lambda x: x, np.ones_like),
            (lambda x: np.sin(20 * x), lambda x: 20 * np.cos(20 * x)),
            (lambda x: 1e-6 * x**2, lambda x: 2e-6 * x),
        ],
    )
    def test_right_derivatives_pass(self, function, derivative):
        Function(function, derivative)

    def test_a_function_without_finite_values(self):
        with pytest.raises(ValueError, match="have no finite values at any of"):
            Function(lambda x: x * np.nan, np.ones_like)

    @pytest.mark.parametrize(
        "arguments, error, found",
        [
            ((3, np.cos), ValueError, "function must be a callable"),
            ((np.sin, "cos"), ValueError, "derivative must be a callable"),
            ((lambda: 0, np.cos), TypeError, r"function must be a function\(x\)"),
            ((np.sin, lambda x: 1.0), ValueError, r"derivative must return real numbers of the shape \(9,\)"),
            ((lambda x: x + 1j, np.ones_like), ValueError, "dtype complex128"),
        ],
    )
    def test_what_is_no_function(self, arguments, error, found):
        with pytest.raises(error, match=found):
            Function(*arguments)


class TestExceptions:
    """A function that fails ends the fit, and an earlier model stays."""

    @pytest.mark.parametrize("n_threads", [1, 2])
    @pytest.mark.parametrize("where", ["function", "derivative"])
    def test_in_training(self, where, n_threads):
        def fail(x):
            if x.ndim == 4:
                raise ZeroDivisionError(where)
            return np.sin(x) if where == "function" else np.cos(x)

        functions = {"function": np.sin, "derivative": np.cos, where: fail}
        clf = make([Dense(3)], n_threads=n_threads).fit(X, y)
        params = clf.network_.params.copy()
        clf.set_params(layers=[Dense(3), Function(**functions)])
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match=where):
                clf.fit(X, y)
            np.testing.assert_array_equal(clf.network_.params, params)

    def test_in_prediction(self):
        limit = [1e9]

        def fail(x):
            if np.abs(x).max() > limit[0]:
                raise OverflowError("too large")
            return x * 1.0

        clf = make([Function(fail, np.ones_like), Dense(3)]).fit(X, y)
        expected, limit[0] = clf.predict_proba(X), 100
        with pytest.raises(OverflowError, match="too large"):
            clf.predict(X * 1e4)
        np.testing.assert_array_equal(clf.predict_proba(X), expected)

    def test_another_shape(self):
        def shorten(x):
            return x if x.ndim == 1 else x[..., :1]

        with pytest.raises(
            ValueError, match=r"function must return real numbers of the shape \(2, 6, 5, 16\)|of the"
        ):
            make([Function(shorten, np.ones_like)], batch_size=32).fit(X, y)

    def test_ctrl_c(self):
        calls = [0]

        def impatient(x):
            calls[0] += 1
            if calls[0] == 40:
                raise KeyboardInterrupt
            return x * 1.0

        clf = make([Function(impatient, np.ones_like), Dense(3)], max_iter=99, batch_size=45, n_threads=1)
        with pytest.warns(UserWarning, match="interrupted"):
            clf.fit(X, y)
        assert np.isfinite(clf.network_.params).all()


def test_pickles_keep_functions_and_files_refuse_them(tmp_path):
    clf = make([Conv2D(2), TANH]).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    np.testing.assert_array_equal(
        again.partial_fit(X, y).network_.params, clf.partial_fit(X, y).network_.params
    )
    with pytest.raises(
        TypeError, match=r"save: layers\[1\]\.function is .* which a file without code cannot hold"
    ):
        clf.save(tmp_path / "model.safetensors")
    pytest.importorskip("onnx")
    with pytest.raises(TypeError, match="to_onnx: Function '1' calls Python, which an ONNX model cannot"):
        skconvnet.to_onnx(clf, tmp_path / "model.onnx")


def test_fields_can_be_searched():
    clf = make([Function(np.tanh, tanh_derivative, name="bend"), Dense(3)])
    clf.set_params(layers__bend__function=relu, layers__bend__derivative=step)
    assert clf.layers[0] == Function(relu, step, name="bend")
    with pytest.raises(ValueError, match="is not that of function"):
        clf.set_params(layers__bend__function=np.sin)
