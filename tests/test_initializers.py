"""Initial weights that copy channels, or that the training data determine."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from skconvnet import ConvNetClassifier
from skconvnet.initializers import draw, whiten
from skconvnet.layers import Conv2D, Dense, MaxPool2D, Rescaling, Residual, Standardize
from skconvnet.optimizers import Muon


def make_images(n=300, dtype=np.float64):
    """Return smooth images of two channels that resemble each other, and labels."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((n, 9, 8, 2)).cumsum(axis=1).cumsum(axis=2)
    images[..., 1] += images[..., 0]
    return images.astype(dtype), np.arange(n) % 2


@pytest.mark.parametrize("filters, channels, kernel", [(5, 3, (3, 3)), (3, 5, (2, 4)), (1, 1, (1, 1))])
def test_dirac(filters, channels, kernel):
    weights = draw("dirac", (filters, channels, *kernel), 10, 10, np.random.RandomState(0))
    n = min(filters, channels)
    expected = np.zeros((n, channels, *kernel))
    expected[range(n), range(n), kernel[0] // 2, kernel[1] // 2] = 1
    np.testing.assert_array_equal(weights[:n], expected)
    others = draw("he_uniform", (filters, channels, *kernel), 10, 10, np.random.RandomState(0))[n:]
    np.testing.assert_array_equal(weights[n:], others)


def test_dirac_equals_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch (torch==2.13.0) is not installed")
    for shape in ((4, 4, 3, 3), (3, 6, 2, 5)):
        weights = draw("dirac", shape, 10, 10, np.random.RandomState(0))
        np.testing.assert_array_equal(weights, torch.nn.init.dirac_(torch.empty(shape)).numpy())


def test_a_new_layer_of_dirac_copies_its_input():
    X, y = make_images()
    layers = [Conv2D(2, padding="same", init="dirac", learning_rate_factor=0, name="copy"), Conv2D(3)]
    clf = ConvNetClassifier(layers, max_iter=1, random_state=0).fit(X, y)
    copied = clf.network_.forward(X.transpose(0, 3, 1, 2), last="copy").reshape(-1, 2, 9, 8)
    np.testing.assert_array_equal(copied.transpose(0, 2, 3, 1), X)


@pytest.mark.parametrize("filters", [3, 8, 16, 20])
def test_whitened_patches(dtype, filters):
    """The first filters' outputs on the training data are uncorrelated and have the variance 1."""
    X, y = make_images(dtype=dtype)
    layers = [Conv2D(filters, (2, 2), init="whiten", learning_rate_factor=(0, 1), name="white")]
    clf = ConvNetClassifier(layers, max_iter=1, random_state=0).fit(X, y)
    weight = clf.network_.weights["white.weight"]
    n = min(-(-filters // 2), 8)
    outputs = clf.network_.forward(X.transpose(0, 3, 1, 2), last="white").reshape(-1, filters, 56)
    outputs = outputs.transpose(1, 0, 2).reshape(filters, -1)[:n]
    # the smallest of the components is about as small as what is added to its variance
    np.testing.assert_allclose(np.cov(outputs)[: n // 2, : n // 2], np.eye(n)[: n // 2, : n // 2], atol=0.02)
    patches = np.lib.stride_tricks.sliding_window_view(X, (2, 2), axis=(1, 2)).reshape(-1, 8)
    pca = PCA().fit(patches)
    scale = np.sqrt(pca.explained_variance_ + 5e-4 * pca.explained_variance_.mean())
    expected = pca.components_[:n] / scale[:n, np.newaxis]
    signs = np.sign((expected * weight[:n].reshape(n, -1)).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(weight[:n].reshape(n, -1), signs * expected, rtol=1e-2, atol=1e-3)
    np.testing.assert_array_equal(weight[n : 2 * n], -weight[: min(2 * n, filters) - n])
    if filters > 16:
        others = ConvNetClassifier([Conv2D(filters, (2, 2))], max_iter=1, random_state=0)
        drawn = others.set_params(layers__0__learning_rate_factor=0).fit(X, y).network_.weights["0.weight"]
        np.testing.assert_array_equal(weight[16:], drawn[16:])


def test_whitening_sees_what_the_layers_before_make():
    X, y = make_images()
    white = Conv2D(6, (2, 3), init="whiten", learning_rate_factor=0, name="white")
    before = [Standardize(), MaxPool2D(), Rescaling(3)]
    clf = ConvNetClassifier([*before, white], max_iter=1, random_state=0).fit(X, y)
    images = clf.network_.forward(X.transpose(0, 3, 1, 2), last="2").reshape(-1, 2, 4, 4)
    weight = clf.network_.weights["white.weight"]
    np.testing.assert_allclose(weight, whiten(images, weight), rtol=1e-9)
    fitted = clf.network_.weights["white.weight"].copy()
    half = ConvNetClassifier([*before, white], max_iter=1, random_state=0)
    half.fit(np.concatenate([X, X * 1e3]), np.concatenate([y, y]), np.repeat([1.0, 0.0], len(X)))
    np.testing.assert_allclose(half.network_.weights["white.weight"], fitted, rtol=1e-9)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", Muon(normalize=True)], ids=repr)
def test_whitened_filters_stay_as_they_are(optimizer):
    """With a factor of 0 nothing moves them: no step, no decoupled decay, no normalization."""
    X, y = make_images()
    layers = [Conv2D(6, 2, init="whiten", learning_rate_factor=(0, 1), name="white"), Conv2D(3)]
    clf = ConvNetClassifier(layers, optimizer=optimizer, max_iter=2, random_state=0).fit(X, y)
    weight, bias = (clf.network_.weights[f"white.{name}"] for name in ("weight", "bias"))
    np.testing.assert_array_equal(weight, whiten(X.transpose(0, 3, 1, 2), weight))
    assert bias.all()


def test_constant_images():
    clf = ConvNetClassifier([Conv2D(4, 2, init="whiten")], max_iter=1)
    assert np.isfinite(
        clf.fit(np.ones((10, 5, 5)), np.arange(10) % 2).predict_proba(np.ones((1, 5, 5)))
    ).all()


@pytest.mark.parametrize("init", ["dirac", "whiten"])
def test_only_plain_convolutions(init):
    for wrong in ({"groups": 2}, {"dilation": 2}, {"connections": np.ones((4, 2), bool)}):
        with pytest.raises(ValueError, match="without groups, connections and dilation"):
            Conv2D(4, init=init, **wrong)
    with pytest.raises(ValueError, match=f"Dense: unknown init '{init}'"):
        Dense(4, init=init)


def test_images_smaller_than_the_kernel():
    with pytest.raises(ValueError, match="needs images of at least 3x3 pixels, as the kernel has, got 2x2"):
        ConvNetClassifier([Conv2D(4, padding="same", init="whiten")]).fit(np.ones((4, 2, 2)), [0, 1, 0, 1])


def test_whitening_within_a_residual():
    with pytest.raises(ValueError, match='Residual.*init="whiten"'):
        Residual([Conv2D(4, init="whiten", padding="same")])
