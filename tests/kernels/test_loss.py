"""Losses against their reference implementation, smoothed, huge and tiny."""

import numpy as np
import pytest
import reference

from skconvnet import functional
from skconvnet._network import Network
from skconvnet.losses import CROSS_ENTROPY, LOSSES, Objective


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("n, classes", [(1, 1), (1, 2), (17, 10), (40, 33)])
def test_softmax_and_cross_entropy(isa, dtype, n, classes, scale):
    rng = np.random.default_rng(4)
    z = (rng.standard_normal((n, classes)) * scale).astype(dtype)
    target, weight = rng.integers(0, classes, n), rng.random(n)
    eps = np.finfo(dtype).eps
    wide = z.astype(np.float64)
    expected_loss, expected_dz = reference.cross_entropy(wide, target, weight)
    for n_threads in (1, 2, 3, 4):
        p = functional.softmax(z, n_threads=n_threads)
        log_p = functional.log_softmax(z, n_threads=n_threads)
        loss, dz = functional.cross_entropy(z, target, weight, n_threads=n_threads)
        np.testing.assert_allclose(p, reference.softmax(wide), rtol=40 * eps * scale, atol=4 * eps)
        np.testing.assert_allclose(log_p, reference.log_softmax(wide), rtol=8 * eps, atol=8 * eps * scale)
        assert np.abs(p.sum(axis=1) - 1).max() <= 4 * classes * eps
        assert isinstance(loss, float)
        np.testing.assert_allclose(loss, expected_loss, rtol=8 * eps, atol=8 * eps * scale)
        np.testing.assert_allclose(dz, expected_dz, rtol=40 * eps * scale, atol=4 * eps)


# The losses of single outputs, and those of all outputs of a sample at once.
OUTPUT_LOSSES = ["binary_cross_entropy", "binary_focal", "squared_error", "absolute_error", "huber"]
OUTPUT_LOSSES += ["quantile", "poisson"]
WHOLE_LOSSES = ["focal", "cosine"]


def make_objective(name, *args):
    """Return an objective; the focal loss of several labels goes by another name in the engine."""
    return Objective("focal", *args, form="labels") if name == "binary_focal" else Objective(name, *args)


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("n, k", [(1, 1), (1, 2), (17, 10), (40, 33)])
@pytest.mark.parametrize("name", OUTPUT_LOSSES + WHOLE_LOSSES)
def test_losses_of_outputs(isa, dtype, name, n, k, scale):
    if name == "poisson":
        scale = min(scale, 10)  # e^1e4 is infinite
    rng = np.random.default_rng(4)
    z = (rng.standard_normal((n, k)) * scale).astype(dtype)
    t = rng.standard_normal((n, k)) * scale
    if name.startswith("binary"):
        t = rng.integers(0, 2, (n, k))
    if name == "focal":
        t = reference.softmax(t)
    weight, eps, network = rng.random(n) + 0.1, np.finfo(dtype).eps, Network([], (k,), dtype=dtype)
    compute = getattr(reference, name)
    # targets of two of the types that images may have, contiguous and with strides
    for target in (t.astype(dtype), np.repeat(t, 2, axis=1).astype(np.float64)[:, ::2]):
        expected, gradient = reference.mean_loss(compute, z.astype(float), target.astype(dtype), weight)
        mean, dz, _ = network.loss(z, target, weight, loss=make_objective(name))
        # a cosine near 1 leaves few digits of the loss, and of the gradient, whose terms have the size 1 / |z|
        size = 1 / np.linalg.norm(z, axis=1).min() if name == "cosine" else np.abs(gradient).max()
        np.testing.assert_allclose(mean, expected, rtol=16 * eps, atol=4 * eps * (name in WHOLE_LOSSES))
        np.testing.assert_allclose(dz, gradient, rtol=8 * eps, atol=8 * eps * size)
        for n_threads in (2, 3):
            again = network.loss(z, target, weight, n_threads, make_objective(name))
            assert again[0] == mean
            np.testing.assert_array_equal(again[1], dz)
    if name.startswith("binary"):
        again = network.loss(z, t.astype(np.uint8), weight, 1, make_objective(name))
        assert again[0] == mean
        np.testing.assert_array_equal(again[1], dz)


CLASS_LOSSES = [name for name, cls in LOSSES.items() if cls.classifies] + ["binary_focal"]


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_losses_of_classes_and_label_smoothing(isa, dtype, name):
    rng = np.random.default_rng(4)
    z, target = rng.standard_normal((21, 6)).astype(dtype), rng.integers(0, 6, 21)
    weight, eps, network = rng.random(21) + 0.1, np.finfo(dtype).eps, Network([], (6,), dtype=dtype)
    for smoothing in (0.0, 0.1, 0.9):
        if name == "cross_entropy":
            expected, gradient = reference.cross_entropy(z.astype(float), target, weight, smoothing)
        else:
            compute = getattr(reference, name)
            expected, gradient = reference.mean_loss(compute, z.astype(float), target, weight, smoothing)
        for form in (target, np.eye(6, dtype=np.uint8)[target]):
            mean, dz, _ = network.loss(z, form, weight, loss=make_objective(name, smoothing))
            np.testing.assert_allclose(mean, expected, rtol=16 * eps)
            np.testing.assert_allclose(dz, gradient, atol=4 * eps)


@pytest.mark.parametrize("name", ["cross_entropy", *OUTPUT_LOSSES, *WHOLE_LOSSES])
def test_losses_of_huge_outputs(isa, dtype, name):
    network = Network([], (4,), dtype=dtype)
    right, wrong = np.array([[1e4, -1e4, -1e4, -1e4]], dtype), np.array([[-1e4, 1e4, -1e4, -1e4]], dtype)
    target = np.array([[1, 0, 0, 0]], np.uint8)
    if name == "poisson":  # e^1e4 is the largest power that the kernels compute
        mean, dz, _ = network.loss(wrong, target, loss=Objective(name))
        assert np.isfinite(mean) and mean > 1e36 and np.isfinite(dz).all() and dz[0, 0] == -0.25
        return
    expected = {
        "cross_entropy": (0, 2e4, [-1, 1, 0, 0]),
        "focal": (0, 2e4, [-1, 1, 0, 0]),
        "cosine": (0.5, 1.5, [-3 / 8e4, -1 / 8e4, 1 / 8e4, 1 / 8e4]),
        "binary_cross_entropy": (0, 5e3, [-0.25, 0.25, 0, 0]),
        "binary_focal": (0, 5e3, [-0.25, 0.25, 0, 0]),
        "quantile": (39999 / 8, 40001 / 8, [-0.125, 0.125, -0.125, -0.125]),
        "squared_error": ((9999**2 + 3e8) / 4, (10001**2 + 3e8) / 4, [-5000.5, 5e3, -5e3, -5e3]),
        "absolute_error": (39999 / 4, 40001 / 4, [-0.25, 0.25, -0.25, -0.25]),
        "huber": (39997 / 4, 39999 / 4, [-0.25, 0.25, -0.25, -0.25]),
    }[name]
    with np.errstate(all="raise"):
        losses = [network.loss(z, target, loss=make_objective(name)) for z in (right, wrong)]
    np.testing.assert_allclose([mean for mean, _, _ in losses], expected[:2], rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(losses[1][1][0], expected[2], rtol=1e-6, atol=1e-37)


def test_targets_of_another_shape_than_the_outputs():
    network, z = Network([], (4,)), np.ones((3, 4), np.float32)
    with pytest.raises(ValueError, match="target must be from 0 to 3, got 0 to 4"):
        network.loss(z, np.array([0, 1, 4]))
    for wrong in (("hubber",), ("huber", 1), ("huber", "a")):
        with pytest.raises(ValueError, match="unknown loss 'hubber'.*mean 'huber'|label_smoothing must be"):
            Objective(*wrong)
    with pytest.raises(ValueError, match=r"target must have shape \('n', 4\), got \(3, 5\)"):
        network.loss(z, np.ones((3, 5)), loss=Objective("huber"))
    for target in (np.zeros(2, np.intp), np.ones((4, 4))):
        with pytest.raises(ValueError, match="target must have 3 rows, as weight has"):
            network.loss(z, target, np.ones(3), loss=CROSS_ENTROPY)


@pytest.mark.parametrize("t", [0.0, 1.0, 0.25, 0.9])
def test_binary_cross_entropy_keeps_its_digits(isa, dtype, t):
    network, loss = Network([], (1,), dtype=dtype), Objective("binary_cross_entropy")
    z = np.concatenate([np.linspace(-100, 100, 201), np.linspace(-3, 3, 50)]).astype(dtype)[:, None]
    target, info = np.full_like(z, t), np.finfo(dtype)
    x, fraction = z.astype(np.longdouble), target.astype(np.longdouble)
    expected = fraction * np.log1p(np.exp(-x)) + (1 - fraction) * np.log1p(np.exp(x))  # a sum without signs
    losses = [network.loss(z[k : k + 1], target[:1], loss=loss)[0] for k in range(len(z))]
    # 2 eps; for targets in between, t z is rounded, of which a loss of (1 - t) z remains.
    # The exp of the kernels returns no denormal number: in float32 it stops at z = -87.
    rtol = 2 if t in (0, 1) else 5
    np.testing.assert_allclose(losses, expected[:, 0], rtol=rtol * info.eps, atol=2 * info.tiny)
    _, dz, _ = network.loss(z, target, loss=loss)
    np.testing.assert_allclose(dz * len(z), 1 / (1 + np.exp(-x)) - fraction, rtol=0, atol=2 * info.eps)
