"""The kernels on plain arrays: dtypes, memory layouts, errors, and docstrings."""

import inspect
import pickle
import pydoc

import numpy as np
import pytest
import reference

from skconvnet import functional as f

X = np.random.default_rng(0).standard_normal((2, 3, 6, 5))
W = np.random.default_rng(1).standard_normal((4, 3, 3, 3))


def test_dtypes():
    assert f.conv2d(X, W).dtype == np.float64
    assert f.conv2d(X.astype("f4"), W).dtype == np.float32
    assert f.conv2d(X.astype("f2"), W).dtype == np.float32
    np.testing.assert_array_equal(f.relu(np.array([[-1, 2]])), [[0.0, 2.0]])
    assert f.relu([[True, False]]).dtype == np.float64


def test_any_memory_layout():
    expected = f.conv2d(X, W)
    for x in (np.asfortranarray(X), X.tolist(), X.astype(">f8"), np.repeat(X, 2, 0)[::2]):
        np.testing.assert_array_equal(f.conv2d(x, W), expected)


def test_connections_leave_weights_out():
    table = [[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]
    mask = np.array(table)[:, :, None, None]
    np.testing.assert_array_equal(f.conv2d(X, W, connections=table), f.conv2d(X, W * mask))


def test_softmax_runs_over_channels_at_every_pixel():
    pixels = X.transpose(0, 2, 3, 1).reshape(-1, 3)
    for function in (f.softmax, f.log_softmax):
        y = function(X).transpose(0, 2, 3, 1).reshape(-1, 3)
        np.testing.assert_array_equal(y, function(pixels))


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: f.conv2d(X[0], W),
            r"x must be a non-empty array of 4 dimensions, got shape \(3, 6, 5\)",
        ),
        (lambda: f.conv2d(X[:0], W), "x must be a non-empty array"),
        (lambda: f.conv2d(X, W[:, :2]), "with the 3 channels of x and 1 groups"),
        (lambda: f.conv2d(X, W, groups=2), "with the 3 channels of x and 2 groups"),
        (lambda: f.conv2d(X, W[:, :1], groups=3), "filters must be a multiple of groups"),
        (lambda: f.elu(X, -1), "alpha must be"),
        (lambda: f.conv2d(X, W, np.zeros(3)), r"bias must have shape \(4,\), got \(3,\)"),
        (lambda: f.conv2d(X, np.ones((4, 3, 9, 9))), "needs an input of at least 9x9 pixels"),
        (
            lambda: f.conv2d(X, W, connections=[[1, 1]]),
            r"connections must be a bool array of shape",
        ),
        (lambda: f.conv2d(X, W, stride=0), "stride must be"),
        (lambda: f.conv2d_backward(X, W, X), r"dy must have shape \(2, 4, 4, 3\)"),
        (lambda: f.conv2d(X, W, n_threads=0), "n_threads must be an int of at least 1 or None, got 0"),
        (lambda: f.max_pool2d(X, 7), "needs an input of at least 7x7 pixels"),
        (lambda: f.avg_pool2d_backward(X, X, 2), r"dy must have shape \(2, 3, 3, 2\)"),
        (lambda: f.dense(X[:, 0, 0], np.ones((3, 4))), "with the 5 features of x"),
        (lambda: f.dense(X, np.ones((3, 4))), "2 dimensions"),
        (lambda: f.leaky_relu(X, -1), "slope must be"),
        (lambda: f.softmax(X[0]), "2 or 4 dimensions"),
        (lambda: f.cross_entropy(np.ones((2, 3)), [0, 3]), "from 0 to 2, got 0 to 3"),
        (lambda: f.cross_entropy(np.ones((2, 3)), [-1, 0]), "from 0 to 2, got -1 to 0"),
        (lambda: f.cross_entropy(np.ones((2, 3)), [0]), "array of 2 class indices"),
        (lambda: f.cross_entropy(np.ones((2, 3)), [0, 1], [0, 0]), "not all 0"),
        (lambda: f.cross_entropy(np.ones((2, 3)), [0, 1], [1, -1]), "at least 0"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_arrays_of_text():
    with pytest.raises(TypeError, match="x must be an array of numbers"):
        f.relu([["a"]])


@pytest.mark.parametrize("name", f.__all__)
def test_masked_arrays_and_other_dimensions(name):
    """Every function checks its arrays first."""
    function = getattr(f, name)
    parameters = inspect.signature(function).parameters.values()
    others = [None for p in list(parameters)[1:] if p.default is p.empty and p.kind is not p.KEYWORD_ONLY]
    first = next(iter(parameters)).name
    with pytest.raises(TypeError, match=f"{first} is a masked array"):
        function(np.ma.masked_less(X, 0), *others)
    if name in ELEMENTWISE:
        return
    with pytest.raises(ValueError, match=f"{first} must be a non-empty array of .* dimensions"):
        function(np.ones(3), *others)


ELEMENTWISE = ["arctan", "elu", "gelu", "hardswish", "leaky_relu", "mish", "relu", "relu6", "selu", "sigmoid"]
ELEMENTWISE += ["silu", "softplus", "softsign", "tanh"]


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (1,), (37,), (3, 5), (2, 3, 4), (2, 3, 4, 5), (2, 1, 3, 1, 2), (0, 3)])
def test_elementwise_functions_take_any_shape(dtype, name, shape):
    function = getattr(f, name)
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    y = function(x)
    assert y.shape == x.shape and y.dtype == dtype
    np.testing.assert_array_equal(y.ravel(), [function([[value]])[0, 0] for value in x.ravel()])


def test_infinity_and_nan():
    x = np.array([[-np.inf, np.inf, np.nan, -1.0]])
    np.testing.assert_array_equal(f.relu(x), [[0, np.inf, np.nan, 0]])
    for index in range(4):
        window = np.arange(4.0)
        window[index] = np.nan
        assert np.isnan(f.max_pool2d(window.reshape(1, 1, 2, 2), 2)).all()


def test_batch_norm(isa, dtype):
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(5), rng.random(5) + 0.1, *rng.standard_normal((2, 5))]
    values = [v.astype(dtype) for v in values]
    for shape in ((3, 5, 4, 6), (40, 5, 3, 3), (19, 5)):
        x = rng.standard_normal(shape).astype(dtype)
        y = f.batch_norm(x, *values, epsilon=0.01)
        expected = reference.batch_norm(x, *values, 0.01)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, atol=32 * np.finfo(dtype).eps)
    with pytest.raises(ValueError, match=r"variance must have shape \(5,\), got \(4,\)"):
        f.batch_norm(x, values[0], np.ones(4), *values[2:])
    with pytest.raises(ValueError, match="negative"):
        f.batch_norm(x, values[0], -np.ones(5), *values[2:])


@pytest.mark.parametrize("name", f.__all__)
def test_functions_with_generated_docstrings_are_ordinary_functions(name):
    function = getattr(f, name)
    assert inspect.isfunction(function) and function.__name__ == function.__qualname__ == name
    assert pickle.loads(pickle.dumps(function)) is function
    doc = pydoc.render_doc(function, renderer=pydoc.plaintext)
    assert f"import {name}\n" in doc and "$" not in doc
