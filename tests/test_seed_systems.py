"""Worked examples, parameter counts and mistakes of the texts on hand-made networks that this began with.

The labels T1 to T16 number the examples; where a text's own figure is wrong, the test has the right one
and says so. The mistakes have a test each that fails if they were made here; doc/seed-systems.md lists them,
with those that tests elsewhere cover.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.metrics import classification_report

from skconvnet import ConvNetClassifier, ConvNetRegressor, functional
from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet.architectures import (
    LENET_CONNECTIONS,
    annt_cifar10,
    annt_mnist,
    kajda_mnist,
    lenet5,
    numpy_cnn,
)
from skconvnet.layers import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    LogSoftmax,
    MaxPool2D,
    Output,
    ReLU,
    ShapeError,
    Sigmoid,
    Softmax,
    Standardize,
)
from skconvnet.layers.window import pad_image
from skconvnet.losses import Objective
from skconvnet.optimizers import SGD, Adam
from skconvnet.schedules import ExponentialDecay

F = np.array(
    [
        [4, 1, 2, 9, 8, 6],
        [9, 5, 9, 5, 8, 5],
        [1, 5, 9, 7, 6, 4],
        [2, 9, 8, 3, 7, 1],
        [8, 1, 6, 4, 2, 2],
        [1, 0, 5, 7, 8, 2],
    ],
    float,
)[None, None]
BOX = np.ones((1, 1, 3, 3))


def test_t1_box_filter():
    sums = [[45, 52, 63, 58], [57, 60, 62, 46], [49, 52, 52, 36], [40, 43, 50, 36]]
    np.testing.assert_array_equal(functional.conv2d(F, BOX)[0, 0], sums)
    rounded = [
        [5, 5.78, 7, 6.44],
        [6.33, 6.67, 6.89, 5.11],
        [5.44, 5.78, 5.78, 4],
        [4.44, 4.78, 5.56, 4],
    ]
    np.testing.assert_allclose(functional.conv2d(F, BOX / 9)[0, 0], rounded, atol=0.005)


def test_t1b_box_filter_same():
    sums = [
        [19, 30, 31, 41, 41, 27],
        [25, 45, 52, 63, 58, 37],
        [31, 57, 60, 62, 46, 31],
        [26, 49, 52, 52, 36, 22],
        [21, 40, 43, 50, 36, 22],
        [10, 21, 23, 32, 25, 14],
    ]
    np.testing.assert_array_equal(functional.conv2d(F, BOX, padding="same")[0, 0], sums)


def test_t1c_pooling():
    np.testing.assert_array_equal(functional.max_pool2d(F, 2)[0, 0], [[9, 9, 8], [9, 9, 7], [8, 7, 8]])
    np.testing.assert_array_equal(
        functional.avg_pool2d(F, 2)[0, 0],
        [[4.75, 6.25, 6.75], [4.25, 6.75, 4.5], [2.5, 5.5, 3.5]],
    )
    np.testing.assert_array_equal(functional.max_pool2d(F, 3, stride=2)[0, 0], [[9, 9], [9, 9]])


def test_t2_softmax():
    p = functional.softmax([[0.6, 0.55, 0.1, 0.1]])
    np.testing.assert_allclose(p[0], [0.3160, 0.3006, 0.1917, 0.1917], atol=5e-5)
    # the text takes sigmoid outputs for logits; of the logits themselves it is
    outputs = np.array([[0.6, 0.55, 0.1, 0.1]])
    p = functional.softmax(np.log(outputs / (1 - outputs)))
    np.testing.assert_allclose(p[0], [0.5094, 0.4151, 0.0377, 0.0377], atol=5e-5)


def test_t3_cross_entropy():
    p = np.array([[0.3, 0.35, 0.25, 0.1]])
    loss, dlogits = functional.cross_entropy(np.log(p), [1])
    assert loss == pytest.approx(1.049822, abs=1e-6)
    # gradient to the probabilities: -1 / 0.35 = -2.857143 at the target; to the logits: p - onehot
    np.testing.assert_allclose(dlogits, p - [[0, 1, 0, 0]], rtol=1e-14)
    jacobian = np.diag(p[0]) - np.outer(p[0], p[0])
    np.testing.assert_allclose(dlogits[0], jacobian @ [0, -2.857143, 0, 0], atol=1e-7)


def count(layer, shape):
    return layer.count_parameters(shape)


def test_t4_dense_against_convolution():
    conv = Conv2D(1, 3)
    assert conv.output_shape((1, 8, 8)) == (1, 6, 6)
    assert count(Dense(36), (64,)) == 2304 + 36
    assert count(conv, (1, 8, 8)) == 9 + 1
    assert np.prod(Conv2D(5, 3).output_shape((1, 8, 8))) == 180
    assert count(Conv2D(5, 3), (1, 8, 8)) == 45 + 5


def test_t5_sizes():
    assert Conv2D(1, 5).output_shape((1, 8, 8)) == (1, 4, 4)
    assert pad_image((1, 8, 8), (5, 5), (1, 1), "same") == ((2, 2), (2, 2))
    assert Conv2D(1, 5).output_shape((1, 12, 12)) == (1, 8, 8)
    assert Conv2D(7, (3, 2)).output_shape((4, 9, 11)) == (7, 9 - 3 + 1, 11 - 2 + 1)


def test_t6_which_weight_multiplies_which_pixel():
    x = np.arange(1.0, 17).reshape(1, 1, 4, 4)
    weight, used = np.ones((1, 1, 2, 2)), {}
    for position in range(4):
        taken = set()
        for output in range(9):
            dy = np.zeros((1, 1, 3, 3))
            dy.flat[output] = 1
            taken.add(int(functional.conv2d_backward(x, weight, dy)[1].flat[position]))
        used[position + 1] = taken
    assert all(len(taken) == 9 for taken in used.values())
    assert used[4] == {6, 7, 8, 10, 11, 12, 14, 15, 16}
    assert used[1] == {1, 2, 3, 5, 6, 7, 9, 10, 11}  # the text lists 12 of them


def test_t7_average_pooling_backward():
    dy = np.array([[[[1.0, 2], [3, 4]]]])
    dx = functional.avg_pool2d_backward(np.zeros((1, 1, 4, 4)), dy, 2)
    np.testing.assert_array_equal(dx[0, 0], np.kron(dy[0, 0], np.full((2, 2), 0.25)))
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6))
    np.testing.assert_array_equal(
        functional.relu(functional.max_pool2d(x, 2)), functional.max_pool2d(functional.relu(x), 2)
    )


def test_t8_stride():
    assert Conv2D(10, 4, stride=2).output_shape((3, 288, 288)) == (10, 143, 143)


def test_t9_receptive_field():
    assert count(Conv2D(1, 5), (3, 28, 28)) == 75 + 1
    assert np.prod(Conv2D(4, 2).output_shape((1, 4, 4))) == 36
    assert Conv2D(1, 1, padding=1).output_shape((1, 4, 4)) == (1, 6, 6)
    assert MaxPool2D(2).output_shape((3, 4, 4)) == (3, 2, 2)
    assert MaxPool2D(2, stride=1).output_shape((3, 4, 4)) == (3, 3, 3)


def test_t10_pooling_and_relu():
    assert MaxPool2D(2).output_shape((32, 26, 26)) == (32, 13, 13)
    y = functional.relu(np.array([[-478.0, 494], [460, -477]]))
    np.testing.assert_array_equal(y, [[0, 494], [460, 0]])


def test_t11_chain_rule():
    # f = (x + y) z with x = -2, y = 5, z = -4 (the text prints 4): a dense layer, then a product
    q_input, q_weight = np.array([[-2.0, 5.0]]), np.ones((1, 2))
    q = functional.dense(q_input, q_weight)
    f = functional.dense(q, [[-4.0]])
    assert (q.item(), f.item()) == (3, -12)
    dq, dz, _ = functional.dense_backward(q, [[-4.0]], np.ones((1, 1)))
    dxy, _, _ = functional.dense_backward(q_input, q_weight, dq)
    np.testing.assert_array_equal(dxy, [[-4, -4]])
    assert dz.item() == 3


def test_t12_numpy_cnn_sizes():
    shape = (1, 28, 28)
    shapes = []
    for layer in (Conv2D(8, 5), Conv2D(8, 5), MaxPool2D(2)):
        shape = layer.output_shape(shape)
        shapes.append(shape)
    assert shapes == [(8, 24, 24), (8, 20, 20), (8, 10, 10)]
    assert np.prod(shape) == 800


def test_t13_sigmoid():
    z = np.array([[4.0, 5, 6]])
    y = functional.sigmoid(z)
    np.testing.assert_allclose(y[0], [0.98201379, 0.99330715, 0.99752738], atol=5e-9)
    # at z, where the notebook evaluates it at the activation
    dx, _ = Network([Sigmoid()], (3,), dtype=np.float64).backward(z, np.ones((1, 3)))
    np.testing.assert_allclose(dx[0], [0.01766271, 0.00664806, 0.00246651], atol=5e-9)


def test_t14_untrained_loss():
    rng = np.random.RandomState(0)
    network = Network([Conv2D(6, 5), ReLU(), AvgPool2D(), Dense(84, activation="relu")], (1, 28, 28), 10)
    network.initialize(rng)
    X = rng.uniform(0, 0.2, (200, 1, 28, 28)).astype(np.float32)
    loss, _, _ = network.loss(X, rng.randint(0, 10, 200))
    assert loss == pytest.approx(np.log(10), abs=0.05)
    loss, _ = functional.cross_entropy(np.zeros((5, 10)), [0, 1, 2, 3, 4])
    assert loss == pytest.approx(2.302585, abs=5e-7)


def test_t15_windows_of_a_series():
    series = np.array([0.0, 1, 4, 9, 16, 25, 16, 9, 4, 1])
    windows = sliding_window_view(series[:-3], 3)  # the last three numbers are to be predicted
    assert windows.tolist() == [[0, 1, 4], [1, 4, 9], [4, 9, 16], [9, 16, 25], [16, 25, 16]]
    X, y = windows[:, :2] / 25, windows[:, 2] / 25
    reg = ConvNetRegressor([Dense(10, activation="tanh")], learning_rate=0.01, max_iter=3000, random_state=0)
    np.testing.assert_allclose(reg.fit(X, y).predict(X), y, atol=0.02)


def test_t16_connection_table():
    assert LENET_CONNECTIONS.sum(axis=1).tolist() == [3] * 6 + [4] * 9 + [6]
    maps = [
        "012",
        "123",
        "234",
        "345",
        "045",
        "015",
        "0123",
        "1234",
        "2345",
        "0345",
        "0145",
        "0125",
        "0134",
        "1245",
        "0235",
        "012345",
    ]
    assert ["".join(map(str, np.flatnonzero(row))) for row in LENET_CONNECTIONS] == maps
    assert LENET_CONNECTIONS.sum() == 60
    assert LENET_CONNECTIONS.sum(axis=0).tolist() == [10] * 6


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (Conv2D(6, 5), (1, 32, 32), 156),
        (Conv2D(16, 5), (6, 14, 14), 2416),  # printed as 416
        (Conv2D(16, 5, connections=LENET_CONNECTIONS), (6, 14, 14), 1516),
        (Conv2D(120, 5), (16, 5, 5), 48120),  # printed as 3120
        (Dense(84), (120,), 10164),
        (Dense(10), (84,), 850),
    ],
)
def test_parameter_counts(layer, shape, expected):
    assert count(layer, shape) == expected


@pytest.mark.parametrize(
    "layers, shape, expected",
    [
        (lenet5(), (1, 32, 32), 60806),
        (lenet5(full=True), (1, 32, 32), 61706),  # printed as 14706
        (annt_mnist(), (1, 32, 32), 51002),
        (annt_mnist(full=True), (1, 32, 32), 51902),
        (numpy_cnn(), (1, 28, 28), 105634),
        (kajda_mnist(), (1, 28, 28), 3864),
        ([Dense(300), Dense(100)], (784,), 266610),
    ],
)
def test_network_parameters(layers, shape, expected):
    assert Network(layers, shape, 10).n_parameters == expected


def test_annt_cifar10_parameters():
    counts = [stage.n_parameters for stage in Network(annt_cifar10(), (3, 32, 32), 10).stages]
    assert [n for n in counts if n] == [2432, 25632, 51264, 65600, 650]


def test_a_kernel_larger_than_its_input_is_refused():
    for layer in (Conv2D(1, 5), MaxPool2D(5), AvgPool2D((1, 5))):
        with pytest.raises(ShapeError, match="an input of at least"):
            layer.output_shape((1, 4, 4))


def test_a_connection_table_for_other_channels_is_refused():
    with pytest.raises(ShapeError):
        Conv2D(16, 5, connections=LENET_CONNECTIONS).output_shape((5, 14, 14))


def test_even_kernels_reach_to_the_bottom_and_right():
    y = functional.conv2d(np.arange(1.0, 10).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)), padding="same")
    np.testing.assert_array_equal(y[0, 0], [[12, 16, 9], [24, 28, 15], [15, 17, 9]])
    assert pad_image((1, 8, 8), (4, 4), (1, 1), "same") == ((1, 2), (1, 2))
    assert pad_image((1, 8, 8), (5, 4), (2, 3), "same") == ((1, 2), (1, 1))


def test_an_edge_filter_is_not_divided_by_its_sum():
    y = functional.conv2d(F, [[[[-1.0, 0, 1]] * 3]])
    sums = [[6, 10, 2, -6], [14, -4, -5, -5], [12, -1, -8, -7], [8, 4, -2, -9]]
    np.testing.assert_array_equal(y[0, 0], sums)


def test_a_bias_is_added_once_however_many_maps_a_filter_sees():
    bias = np.arange(1.0, 17)
    x, weight = np.ones((1, 6, 5, 5)), np.zeros((16, 6, 3, 3))
    for connections in (None, LENET_CONNECTIONS):
        y = functional.conv2d(x, weight, bias, connections=connections)
        np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], (1, 16, 3, 3)))
        dbias = functional.conv2d_backward(x, weight, np.ones((1, 16, 3, 3)), connections=connections)[2]
        np.testing.assert_array_equal(dbias, np.full(16, 9))


def test_all_maps_count_forward_and_all_filters_backward():
    x = np.array([1.0, 10, 100]).reshape(1, 3, 1, 1)
    weight = np.array([[1.0, 2, 3], [4, 5, 6]]).reshape(2, 3, 1, 1)
    assert functional.conv2d(x, weight).ravel().tolist() == [321, 654]
    dx, dweight, _ = functional.conv2d_backward(x, weight, np.array([1.0, 10]).reshape(1, 2, 1, 1))
    assert dx.ravel().tolist() == [41, 52, 63]
    assert dweight.ravel().tolist() == [1, 10, 100, 10, 100, 1000]


def test_gradients_of_earlier_batches_have_no_effect():
    layers = [Conv2D(4, 5, padding="same"), MaxPool2D(3, stride=2), Conv2D(5, 5, padding="same"), AvgPool2D()]
    network, other = (Network(layers, (3, 9, 9), 3, np.float64) for _ in range(2))
    rng = np.random.RandomState(0)
    network.initialize(rng)
    other.params = network.params.copy()
    X, y = rng.standard_normal((30, 3, 9, 9)), rng.randint(0, 3, 30)
    run_epoch = Trainer(network, SGD(), rng).prepare(
        TrainingData(X, y, np.ones(30)), StepSettings(8, 0.1, False, 2)
    )
    for _ in range(2):
        run_epoch()  # in one workspace for all steps
        for start in range(0, 30, 8):
            batch = slice(start, start + 8)
            other.params = other.params - 0.1 * other.loss(X[batch], y[batch])[2]  # in a new one each
    np.testing.assert_allclose(network.params, other.params, rtol=1e-11, atol=1e-13)


def test_overlapping_windows_add_up_their_gradients():
    peak = np.zeros((1, 1, 5, 5))
    peak[..., 2, 2] = 1
    dy = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    dx = functional.max_pool2d_backward(peak, dy, 3, stride=1)
    assert dx[0, 0, 2, 2] == dx.sum() == 45  # all nine windows see the peak
    dx = functional.avg_pool2d_backward(peak, 9 * dy, 3, stride=1)[0, 0]
    seen = [
        [1, 3, 6, 5, 3],
        [5, 12, 21, 16, 9],
        [12, 27, 45, 33, 18],
        [11, 24, 39, 28, 15],
        [7, 15, 24, 17, 9],
    ]
    np.testing.assert_array_equal(dx, seen)


def test_of_equal_pixels_the_first_gets_the_gradient():
    dx = functional.max_pool2d_backward(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)), 2)
    np.testing.assert_array_equal(dx[0, 0], np.kron(np.ones((2, 2)), [[1, 0], [0, 0]]))


def test_padding_never_counts_in_pooling():
    ones = np.ones((1, 1, 5, 5))
    for padding in ("same", 1):
        np.testing.assert_array_equal(
            functional.avg_pool2d(ones, 3, stride=2, padding=padding), ones[..., :3, :3]
        )
        y = functional.max_pool2d(-ones, 3, stride=2, padding=padding)
        np.testing.assert_array_equal(y, -ones[..., :3, :3])


def test_relu_has_no_slope_at_zero():
    x = np.array([[-1.0, 0, 1]])
    dx, _ = Network([ReLU()], (3,), dtype=np.float64).backward(x, np.ones((1, 3)))
    np.testing.assert_array_equal(dx, [[0, 0, 1]])


def test_the_softmaxes_have_their_whole_jacobian():
    p = np.array([[0.3, 0.35, 0.25, 0.1]])
    dy = np.array([[0.0, 2, 0, 1]])  # whose sum is not -1
    dx, _ = Network([LogSoftmax()], (4,), dtype=np.float64).backward(np.log(p), dy)
    np.testing.assert_allclose(dx, dy - 3 * p, rtol=1e-14)
    dx, _ = Network([Softmax()], (4,), dtype=np.float64).backward(np.log(p), dy)
    np.testing.assert_allclose(dx, p * (dy - 0.8), rtol=1e-14)


def test_gradients_have_the_factor_of_the_loss():
    z, t = np.array([[1.0, 4], [2, -2], [0, 3]]), np.zeros((3, 2))
    network = Network([], (2,), dtype=np.float64)
    mean, dz, _ = network.loss(z, t, loss=Objective("squared_error"))
    assert mean == pytest.approx(34 / 6)
    np.testing.assert_allclose(dz, 2 * z / 6, rtol=1e-14)
    mean, dz, _ = network.loss(z, t, loss=Objective("absolute_error"))
    assert mean == pytest.approx(2)
    np.testing.assert_allclose(dz, np.sign(z) / 6, rtol=1e-14)


def test_losses_of_certain_and_wrong_outputs_are_finite():
    z, network = np.array([[1000.0, -1000]]), Network([], (2,), dtype=np.float64)
    assert functional.cross_entropy(z, [1])[0] == 2000
    mean, dz, _ = network.loss(z, np.array([[0.0, 1]]), loss=Objective("binary_cross_entropy"))
    assert mean == 1000
    np.testing.assert_array_equal(dz, [[0.5, -0.5]])


def make_line(optimizer):
    """A trainer of one weight, y = w x; its w is 0, its gradient under absolute error is -x."""
    network = Network([Output(bias=False, init="zeros")], (1,), 1, np.float64)
    return Trainer(network, optimizer, np.random.RandomState(0), Objective("absolute_error"))


def test_adam_corrects_its_bias_keeps_its_state_and_adds_epsilon_to_the_root():
    trainer = make_line(Adam(beta_1=0.95, beta_2=0.99, epsilon=1.0))
    X, y = np.array([[1.0], [0], [0]]), np.full((3, 1), 100.0)
    expected = 0
    for t in (1, 2, 3):  # the gradient is -1, then 0 twice
        trainer.prepare(TrainingData(X[t - 1 : t], y[:1], np.ones(1)), StepSettings(1, 0.1, False, 1))()
        mean = 0.95 ** (t - 1) * 0.05 / (1 - 0.95**t)
        square = 0.99 ** (t - 1) * 0.01 / (1 - 0.99**t)
        expected += 0.1 * mean / (np.sqrt(square) + 1)
        assert trainer.network.params[0] == pytest.approx(expected, rel=1e-12)
        assert t > 1 or expected == pytest.approx(0.1 / 2)  # 0.1 / sqrt(2) with epsilon in the root


def test_every_order_of_the_samples_is_as_likely():
    # the rate halves at every step, so an input's weight shows when its sample was used
    n, n_epochs = 8, 2000
    network = Network([Output(bias=False, init="zeros")], (n,), 1, np.float64)
    trainer = Trainer(network, SGD(), np.random.RandomState(0), Objective("absolute_error"))
    run_epoch = trainer.prepare(
        TrainingData(np.eye(n), np.full((n, 1), 1e6), np.ones(n)),
        StepSettings(1, ExponentialDecay(1.0, 1, 0.5), True, 1),
    )
    counts = np.zeros((n, n))
    for _ in range(n_epochs):
        trainer.steps[0] = 0
        network.params = np.zeros(n)
        run_epoch()
        positions = -np.log2(network.params).round().astype(int)
        assert sorted(positions) == list(range(n))  # every sample once
        counts[np.arange(n), positions] += 1
    chance = n_epochs / n
    assert ((counts - chance) ** 2 / chance).sum() < 90  # 49 degrees of freedom: 3e-4 beyond


def test_every_layer_is_trained_and_starts_with_weights_of_its_own():
    rng = np.random.RandomState(0)
    layers = [
        Conv2D(4, padding="same", activation="tanh"),
        Conv2D(4, padding="same"),
        Conv2D(4, padding="same"),
    ]
    network = Network([*layers, BatchNorm(), Dense(5, activation="tanh"), Dense(5)], (4, 6, 6), 3)
    network.initialize(rng)
    before = {name: weight.copy() for name, weight in network.weights.items()}
    starts = [before[f"{k}.weight"] for k in range(3)]
    assert not any((a == b).any() for a, b in zip(starts, [*starts[1:], starts[0]]))
    X = rng.standard_normal((40, 4, 6, 6)).astype(np.float32)
    Trainer(network, SGD(), rng).prepare(
        TrainingData(X, rng.randint(0, 3, 40), np.ones(40)), StepSettings(20, 0.1, True, 2)
    )()
    # a bias before batch normalisation has no effect
    assert all((network.weights[name] != before[name]).all() for name in before if name != "2.bias")


def test_each_feature_is_normalised_by_itself_and_in_its_own_batch():
    X = np.arange(12.0).reshape(4, 3) * [1, 10, 100] + [0, 1000, -1000]
    network = Network([BatchNorm(momentum=0.0)], (3,), 2, np.float64)
    network.initialize(np.random.RandomState(0))
    trainer = Trainer(network, SGD(), np.random.RandomState(0))
    for batch in (X, X[:2], X[:3]):  # the sizes of earlier batches have no effect
        trainer.prepare(
            TrainingData(batch, np.zeros(len(batch), np.intp), np.ones(len(batch))),
            StepSettings(len(batch), 0.1, False, 1),
        )()
        np.testing.assert_allclose(network.weights["0.running_mean"], batch.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(network.weights["0.running_var"], batch.var(axis=0, ddof=1), rtol=1e-12)


def test_test_images_are_standardized_by_the_training_images():
    rng = np.random.default_rng(0)
    X, y = rng.random((40, 4, 4)) + np.arange(40).reshape(-1, 1, 1) % 2, np.arange(40) % 2
    clf = ConvNetClassifier([Standardize(), Dense(5)], max_iter=20, learning_rate=0.01, random_state=0).fit(
        X, y
    )
    bright = X[y == 1]  # by their own mean, half of them would be dark
    assert (clf.predict(bright) == 1).all()


def test_accuracy_counts_samples():
    X, y = np.eye(10), np.arange(10)
    clf = ConvNetClassifier([], learning_rate=1e-300, max_iter=1, random_state=0).fit(X, y)
    clf.network_.set_weights({"output.weight": np.roll(np.eye(10), 1, axis=0), "output.bias": np.zeros(10)})
    # all wrong, though of ten outputs eight are as they should be
    assert clf.score(X, y) == 0
    assert clf.partial_fit(X, y).history_[-1]["train_score"] == 0


def test_warning_filters_are_unchanged():
    filters = list(warnings.filters)
    ConvNetClassifier([], max_iter=1).fit(np.eye(4), np.arange(4)).predict(np.eye(4))
    assert list(warnings.filters) == filters


def test_exclusive_or():
    X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), [0, 1, 1, 0]
    clf = ConvNetClassifier(
        [Dense(4, activation="tanh")],
        loss="binary_cross_entropy",
        optimizer=SGD(momentum=0.9, nesterov=True),
        learning_rate=0.1,
        max_iter=1000,
        random_state=0,
    ).fit(X, y)
    np.testing.assert_allclose(clf.predict_proba(X)[:, 1], y, atol=0.05)


X = np.random.default_rng(0).random((90, 5, 4))
y = np.arange(90) % 3
X += y.reshape(-1, 1, 1) / 2

LAYERS = [Conv2D(4, 2, activation="tanh")]


def make(layers=LAYERS, **params):
    return ConvNetClassifier(layers, **{"random_state": 0, "max_iter": 1, "batch_size": 20, **params})


def test_log_softmax_before_the_loss_changes_nothing():
    outputs = make([Dense(3), Output(dense=False)]).fit(X, y).predict_proba(X)
    logarithms = make([Dense(3), LogSoftmax(), Output(dense=False)]).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(logarithms, outputs, rtol=1e-12)


def test_the_learning_rate_can_be_changed_in_between():
    clf = make(optimizer="sgd", learning_rate=0.1).fit(X, y)
    before = clf.network_.params.copy()
    clf.set_params(learning_rate=1e-300).partial_fit(X, y)
    np.testing.assert_array_equal(clf.network_.params, before)
    assert [record["learning_rate"] for record in clf.history_] == [0.1, 1e-300]


def test_an_epoch_of_samples_picked_with_replacement():
    rows = np.random.default_rng(1).integers(90, size=90)
    picked = make(batch_size=90).partial_fit(X[rows], y[rows], classes=range(3))
    counted = make(batch_size=90).partial_fit(X, y, range(3), np.bincount(rows, minlength=90))
    np.testing.assert_allclose(picked.network_.params, counted.network_.params, rtol=1e-7)


def test_the_loss_of_every_batch():
    whole, parts, losses = make(shuffle=False).fit(X, y), make(), []
    batches = [slice(start, start + 20) for start in range(0, 90, 20)]
    for batch in batches:
        losses.append(parts.partial_fit(X[batch], y[batch], classes=range(3)).loss_)
    np.testing.assert_allclose(parts.network_.params, whole.network_.params, rtol=1e-12)
    assert whole.loss_ == pytest.approx(np.average(losses, weights=[20, 20, 20, 20, 10]), rel=1e-12)


def test_recall_of_each_class():
    names = np.array(["bright", "dark", "middling"])[y]
    clf = make(max_iter=5).fit(X, names)
    report = classification_report(names, clf.predict(X), output_dict=True, zero_division=0)
    for name in clf.classes_:
        assert report[name]["recall"] == clf.score(X[names == name], names[names == name])


def test_the_document_names_tests_that_are_there():
    folder = Path(__file__).parent
    text = (folder.parent / "doc" / "seed-systems.md").read_text()
    named = set(re.findall(r"`(\S+\.py)::(\S+)`", text))
    assert len(named) > 50
    for file, test in named:
        sources = [path.read_text() for path in folder.rglob(file)]
        for part in test.split("::"):
            assert any(re.search(rf"^ *(def|class) {part}\b", source, re.M) for source in sources), (
                f"{file}::{test}"
            )
