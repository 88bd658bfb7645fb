"""Worked examples and parameter counts of the texts on hand-made networks that this began with.

The labels T1 to T16 number the examples; where a text's own figure is wrong, the test has the right one
and says so.
"""

import numpy as np
import pytest

from skconvnet import functional
from skconvnet._network import Network
from skconvnet.architectures import LENET_CONNECTIONS, annt_mnist, kajda_mnist, lenet5, numpy_cnn
from skconvnet.layers import AvgPool2D, Conv2D, Dense, MaxPool2D, ReLU, ShapeError
from skconvnet.layers.window import pad_image

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


def test_t6_which_weight_meets_which_pixel():
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
    from skconvnet.layers import Sigmoid

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
    layers = []
    for filters in (32, 32, 64):
        layers += [Conv2D(filters, 5, padding="same"), MaxPool2D()]
    counts = [s.n_parameters for s in Network([*layers, Dense(64)], (3, 32, 32), 10).stages]
    assert [n for n in counts if n] == [2432, 25632, 51264, 65600, 650]


def test_a_kernel_larger_than_its_input_is_refused():
    with pytest.raises(ShapeError):
        Conv2D(1, 5).output_shape((1, 4, 4))
