"""Whole networks: gradients compared with central differences, weights, programs."""

import pickle

import numpy as np
import pytest
import reference
from checks import build, check_batch_invariance, check_gradients

from skconvnet import kernels
from skconvnet._network import Network
from skconvnet.layers import (
    ELU,
    GELU,
    SELU,
    Arctan,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    Hardswish,
    Identity,
    LayerNorm,
    LeakyReLU,
    LocallyConnected2D,
    LogSoftmax,
    MaxPool2D,
    Mish,
    Output,
    Parallel,
    PReLU,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomShift,
    ReLU,
    ReLU6,
    Rescaling,
    Residual,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Standardize,
    Tanh,
    UpSample2D,
    ZeroPad2D,
)
from skconvnet.losses import CROSS_ENTROPY, LOSSES, Focal, Objective, Quantile

TABLE = [[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0]]

# input shape, layers: layers in many combinations, some of odd shapes
NETWORKS = [
    ((1, 8, 8), [Conv2D(4, activation="tanh"), Conv2D(3, 2, activation="sigmoid")]),
    ((3, 7, 6), [Conv2D(5, padding="same", activation="relu")]),
    ((3, 7, 6), [Conv2D(5, stride=2, activation="leaky_relu"), Dense(4)]),
    ((3, 7, 6), [Conv2D(5, 2, stride=(3, 2), padding="same", activation="tanh")]),
    ((3, 7, 6), [Conv2D(5, (2, 4), padding=((1, 0), (2, 3)), activation="tanh"), MaxPool2D()]),
    ((3, 7, 6), [Conv2D(5, connections=TABLE, activation="tanh"), Conv2D(2, padding=2)]),
    ((3, 7, 6), [Conv2D(5, connections=TABLE, padding="same"), AvgPool2D(3, stride=2), Tanh()]),
    ((3, 7, 6), [Conv2D(5, bias=False), Sigmoid(), Conv2D(17, 1, activation="tanh")]),
    ((3, 9, 9), [Conv2D(4, dilation=2, activation="tanh"), Conv2D(4, 2, dilation=(1, 3))]),
    ((3, 9, 9), [Conv2D(4, 3, stride=3, dilation=2, padding=4, activation="tanh")]),
    ((2, 5, 5), [Conv2D(6, 5, activation="tanh"), Dense(5, activation="tanh")]),
    ((2, 5, 5), [Conv2D(6, 5, activation="relu"), Conv2D(7, 1, activation="tanh")]),
    ((2, 5, 5), [Conv2D(6, padding="same", activation="tanh"), Conv2D(9, 5)]),
    ((2, 5, 5), [Conv2D(6, 5, connections=np.ones((6, 2))), Tanh()]),
    ((2, 5, 5), [Conv2D(6, 1), MaxPool2D(3, stride=1), Conv2D(3, 3, activation="tanh")]),
    ((17, 4, 4), [Conv2D(17, padding="same", activation="tanh"), MaxPool2D(), Flatten()]),
    ((1, 1, 12), [Conv2D(4, (1, 3), activation="tanh"), MaxPool2D((1, 2), stride=1)]),
    ((1, 12, 1), [Conv2D(4, (3, 1), activation="tanh"), AvgPool2D((2, 1))]),
    ((1, 1, 1), [Conv2D(3, 1, activation="tanh"), Conv2D(2, 3, padding="same")]),
    ((2, 6, 6), [MaxPool2D(3, stride=2, padding=1), Conv2D(3, 2)]),
    ((2, 6, 6), [MaxPool2D(2, stride=3), Dense(5, activation="sigmoid")]),
    ((2, 6, 6), [MaxPool2D((6, 5), padding="same", stride=1), Conv2D(2)]),
    ((2, 6, 6), [AvgPool2D(), Conv2D(3, 2, activation="tanh")]),
    ((2, 6, 6), [AvgPool2D(3, stride=1, padding="same"), Conv2D(3, 2, activation="tanh")]),
    ((2, 6, 6), [AvgPool2D(4, stride=3, padding=((2, 1), (0, 3))), Dense(5, bias=False)]),
    ((2, 6, 6), [Tanh(), Conv2D(3), LeakyReLU(0.2), AvgPool2D(), Sigmoid()]),
    ((2, 6, 6), [Flatten(), Dense(7), Tanh(), Dense(3, activation="leaky_relu")]),
    ((2, 6, 6), [Dense(20, activation="relu"), Identity(), Dense(4, bias=False)]),
    ((2, 6, 6), [Conv2D(3, padding="same"), ReLU(), Flatten(), Output(bias=False)]),
    ((2, 6, 6), [Conv2D(3, 6), Output(dense=False)]),
    ((2, 6, 6), [Conv2D(4, 4, activation="tanh"), Conv2D(3, 3), Output(dense=False)]),
    ((5,), []),
    ((5,), [Dense(30, activation="relu"), Dense(20, activation="leaky_relu")]),
    ((1,), [Dense(1, activation="sigmoid"), Dense(100, activation="tanh")]),
    ((40,), [Sigmoid(), Dense(33, activation="sigmoid"), Dense(12)]),
    ((1, 14, 14), [Conv2D(6, 5, activation="tanh"), AvgPool2D(), Conv2D(16, 5), Tanh()]),
    (
        (3, 12, 10),
        [
            Conv2D(8, padding="same"),
            Tanh(),
            MaxPool2D(),
            Conv2D(8, padding="same"),
            Tanh(),
            MaxPool2D(),
            Dense(16, activation="tanh"),
        ],
    ),
    (
        (4, 9, 8),
        [
            Conv2D(6, stride=2, padding="same"),
            LeakyReLU(),
            Conv2D(6, (1, 2), stride=(1, 2)),
            Tanh(),
            MaxPool2D(2, stride=1, padding="same"),
        ],
    ),
    ((2, 6, 6), [BatchNorm(scale=False, center=False), Conv2D(3, activation="tanh")]),
    ((3, 7, 6), [Conv2D(5, bias=False), BatchNorm(), Tanh(), AvgPool2D(), BatchNorm(center=False)]),
    (
        (3, 7, 6),
        [Conv2D(4, padding="same", bias=False), BatchNorm(epsilon=0.1), Conv2D(4, padding=2), Sigmoid()],
    ),
    (
        (3, 7, 6),
        [Flatten(), BatchNorm(center=False), Dense(9, bias=False), BatchNorm(scale=False), Tanh(), Dense(4)],
    ),
    ((5,), [BatchNorm(), Dense(17, activation="tanh"), BatchNorm()]),
    ((2, 11, 10), [Conv2D(5, 4, stride=(2, 3), padding=(3, 1), activation="tanh"), AvgPool2D(2)]),
    # activations after layers that read their own output in the backward pass
    ((2, 6, 6), [MaxPool2D(), Tanh(), Softplus()]),
    ((2, 6, 6), [Conv2D(3, activation="tanh"), Sigmoid(), Identity(), LeakyReLU(0.3)]),
    ((5,), [Tanh(), ELU(0.5), Dense(4, activation="tanh"), Arctan(), Softplus()]),
    ((2, 6, 6), [Conv2D(3, 6, activation="tanh"), Output(dense=False)]),
    ((2, 6, 6), [ELU(), Conv2D(4, activation="elu"), Conv2D(3, 2, padding=1, activation=ELU(0.3))]),
    ((2, 6, 6), [GELU(), Conv2D(4, padding="same", activation="gelu"), MaxPool2D(), GELU()]),
    ((2, 6, 6), [Conv2D(4, padding="same", bias=False), BatchNorm(), GELU(), Conv2D(2, padding=1)]),
    ((2, 6, 6), [Conv2D(4, activation="softplus"), Softplus(), Dense(7, activation="softplus")]),
    ((2, 6, 6), [SiLU(), Conv2D(4, padding="same", activation="mish"), MaxPool2D(), Hardswish()]),
    ((2, 6, 6), [SELU(), Conv2D(4, activation="selu"), Softsign(), Dense(7, activation="softsign"), ReLU6()]),
    ((2, 6, 6), [Mish(), Conv2D(4, activation="silu"), Conv2D(3, activation="relu6"), Dense(4)]),
    ((2, 6, 6), [Conv2D(4, activation="arctan"), AvgPool2D(), Arctan(), Dense(7, activation="arctan")]),
    ((3, 6, 5), [Softmax(), Conv2D(4, padding="same", activation="softmax"), MaxPool2D()]),
    ((3, 6, 5), [Conv2D(4, padding="same", activation="log_softmax"), Conv2D(2, padding=2), Flatten()]),
    ((5,), [Dense(17, activation="softmax"), LogSoftmax(), Dense(4)]),
    ((5,), [Dense(17, activation="log_softmax"), Dense(4), Softmax()]),
    ((4, 7, 6), [Conv2D(8, groups=2, activation="tanh"), Conv2D(8, 2, groups=8, padding="same")]),
    ((6, 7, 6), [Conv2D(9, groups=3, stride=2, padding=1, bias=False), Tanh(), Dense(4)]),
    ((4, 5, 5), [Conv2D(4, 5, groups=4, activation="gelu"), Conv2D(6, 1, groups=2, dilation=2)]),
    ((32, 6, 4), [Conv2D(32, groups=2, padding="same", activation="relu"), Conv2D(16, padding="same")]),
    ((2, 7, 6), [Conv2D(5, padding="same", activation="tanh"), GlobalAvgPool2D(), Dense(4)]),
    ((2, 7, 6), [Conv2D(5, stride=2, activation="tanh"), GlobalMaxPool2D(), Tanh()]),
    ((2, 7, 6), [ZeroPad2D(2), Conv2D(4, activation="softplus"), ZeroPad2D(((0, 1), (2, 0))), MaxPool2D()]),
    ((2, 7, 6), [Conv2D(3, padding=1), ZeroPad2D(1), Conv2D(3, padding=1), Tanh(), ZeroPad2D((1, 0))]),
    ((2, 7, 6), [Rescaling(0.5, -1), Conv2D(4, padding=1), Rescaling(2), Conv2D(3, padding="same")]),
    ((5,), [Rescaling(0.1, offset=3), Dense(4), Rescaling(-1), Tanh()]),
    ((2, 6, 6), [Conv2D(3), Rescaling(0), Dense(4)]),  # gradients that are 0
    ((2, 7, 6), [LayerNorm(), Conv2D(4, padding=1), LayerNorm(scale=False, epsilon=0.1), MaxPool2D()]),
    ((2, 7, 6), [Conv2D(4, padding="same"), LayerNorm(center=False), GELU(), Conv2D(3, padding=1)]),
    ((2, 7, 6), [BatchNorm(), LayerNorm(), Dense(19), LayerNorm(scale=False, center=False), Dense(4)]),
    ((3, 7, 6), [LocallyConnected2D(4, activation="tanh"), Conv2D(3, padding="same")]),
    (
        (3, 7, 6),
        [
            Conv2D(3, padding="same"),
            LocallyConnected2D(14, (2, 3), stride=(1, 2), padding="same", bias=False, activation="gelu"),
            LocallyConnected2D(2, 2, padding=1),
        ],
    ),
    ((2, 5, 5), [Conv2D(3, 5, activation="tanh"), ZeroPad2D(1), LocallyConnected2D(3, 2), Tanh()]),
    ((2, 6, 6), [Residual([]), Conv2D(3)]),
    ((2, 6, 6), [Residual([Tanh(), Conv2D(2, padding="same")]), Sigmoid(), MaxPool2D()]),
    (
        (3, 7, 6),
        [
            Conv2D(4, padding="same", activation="tanh"),
            Residual([Conv2D(4, padding="same", activation="tanh"), Conv2D(4, padding="same")], name="first"),
            Tanh(),
            Residual([Conv2D(6, stride=2, padding="same"), Tanh(), Conv2D(6, 1)]),
            GELU(),
        ],
    ),
    (
        (3, 7, 6),
        [
            BatchNorm(),
            Residual(
                [Conv2D(5, stride=2, padding="same", bias=False), BatchNorm(), Tanh(), Conv2D(5, padding=1)],
                shortcut=[AvgPool2D(2, padding="same"), Conv2D(5, 1, bias=False), BatchNorm(center=False)],
            ),
            Softplus(),
            Residual([BatchNorm(), Tanh(), Conv2D(5, padding="same")]),
            GlobalAvgPool2D(),
        ],
    ),
    (
        (2, 6, 6),
        [Residual([Residual([Conv2D(2, padding=1, bias=False), BatchNorm()]), Tanh()], shortcut=[Sigmoid()])],
    ),
    ((5,), [Dense(8), Residual([Dense(8, activation="tanh"), LayerNorm()]), Residual([Dense(4), Tanh()])]),
    ((5,), [Residual([Dense(5, activation="tanh"), Dropout(0.3)]), Tanh()]),
    (
        (3, 7, 6),
        [
            BatchNorm(),
            Parallel(
                [
                    [Conv2D(4, 1, bias=False), BatchNorm(), Tanh()],
                    [
                        Conv2D(2, 1, activation="tanh"),
                        Parallel([[Conv2D(3, (1, 3), padding="same")], [Sigmoid()]]),
                    ],
                    [AvgPool2D(3, stride=1, padding="same"), BatchNorm(), Conv2D(2, 1)],
                    [],
                ]
            ),
            Tanh(),
            Parallel(
                [[], [GlobalAvgPool2D(), Dense(3, activation="tanh"), Dense(14, activation="sigmoid")]],
                "multiply",
            ),
            Parallel(
                [
                    [Conv2D(3, bias=False), BatchNorm()],
                    [Conv2D(3), Dropout(0.3)],
                    [AvgPool2D(3, stride=1), Conv2D(3, 1)],
                ],
                "max",
            ),
            Softplus(),
            Parallel([[Dense(4)], [GlobalAvgPool2D(), BatchNorm()], [Flatten()]]),
            Parallel([[Tanh()], [Dropout(0.2)], []], "average"),
        ],
    ),
    (
        (2, 4, 3),
        [
            Conv2DTranspose(4, 3, stride=2, padding=1, output_padding=1, activation="gelu"),
            UpSample2D((1, 2), "bilinear"),
            Conv2D(3, padding="same", activation="tanh"),
            UpSample2D((2, 1)),
            Conv2DTranspose(2, 2, stride=(1, 2), padding="same", groups=1),
            PReLU(),
        ],
    ),
    # one reader of the input pads it, another takes it as a vector, in any order
    (
        (1, 8, 8),
        [
            Parallel(
                [[Dense(3)], [Conv2D(2, padding="same", activation="tanh"), Dense(4)], [Flatten(), Tanh()]]
            )
        ],
    ),
    (
        (1, 8, 8),
        [Tanh(), Parallel([[Flatten()], [Conv2D(2, padding="same", activation="tanh"), Flatten()]]), Tanh()],
    ),
    (
        (2, 6, 6),
        [Dropout(0.2), Conv2D(4, activation="tanh"), Dropout(), MaxPool2D(), Dense(30), Dropout(0.1)],
    ),
    (
        (2, 6, 6),
        [
            *(BatchNorm(), RandomFlip(), Conv2D(4, padding="same", activation="tanh"), RandomRotation(30)),
            *(
                BatchNorm(),
                RandomCrop(5, padding=1),
                RandomErasing(),
                MaxPool2D(),
                RandomShift(1),
                GaussianNoise(),
            ),
            *(Conv2D(3, 2, activation="tanh"), RandomCrop(2, padding=1), Dense(5)),
        ],
    ),
    ((2, 6, 6), [Standardize(), Conv2D(4, activation="tanh")]),
    ((5,), [Standardize(), Tanh(), Dense(4)]),
    # one reader of the input pads it, the other takes it as a vector
    ((1, 8, 8), [Residual([Conv2D(2, padding="same", activation="tanh"), Dense(4)], shortcut=[Dense(4)])]),
    ((1, 8, 8), [Residual([Dense(4)], shortcut=[Conv2D(2, padding="same", activation="tanh"), Dense(4)])]),
    (
        (1, 8, 8),
        [
            Conv2D(2, activation="tanh"),
            Residual([Conv2D(2, padding="same"), MaxPool2D(6)], shortcut=[Conv2D(2, 6)]),
        ],
    ),
]


@pytest.mark.parametrize("shape, layers", NETWORKS, ids=str)
def test_gradients_equal_central_differences(shape, layers):
    network = build(shape, layers)
    rng = np.random.RandomState(1)
    X = rng.standard_normal((19, *shape))
    check_loss_gradients(network, rng, X, rng.randint(0, 3, 19), rng.rand(19) + 0.5, CROSS_ENTROPY)


@pytest.mark.parametrize("name", [*LOSSES, Focal(0.5), Quantile(0.9)], ids=str)
@pytest.mark.parametrize("classes", [True, False], ids=["classes", "values"])
@pytest.mark.parametrize("smoothing", [0, 0.3])
def test_gradients_of_all_losses_equal_central_differences(name, classes, smoothing):
    network = build((2, 6, 6), [Conv2D(4, padding="same", activation="tanh"), MaxPool2D(), Dense(8)], 5)
    rng = np.random.RandomState(1)
    X = rng.standard_normal((19, 2, 6, 6))
    target, values = rng.randint(0, 5, 19), rng.standard_normal((19, 5)) * 2
    if name in ("cross_entropy", "focal"):
        values = reference.softmax(values)  # the targets of this loss must sum to 1
    target = target if classes else values
    check_loss_gradients(network, rng, X, target, rng.rand(19) + 0.5, Objective(name, smoothing))


def check_loss_gradients(network, rng, X, target, weight, loss):
    _, dx, dparams = network.loss(X, target, weight, n_threads=2, loss=loss)

    def measure(params, X):
        network.params = params
        return network.loss(X, target, weight, loss=loss)[0]

    check_gradients(network, rng, X, dx, dparams, measure)


@pytest.mark.parametrize("indices", [slice(None), slice(0, None, 2), slice(1, None, 2)], ids=str)
@pytest.mark.parametrize("key", ["0.weight", "0.bias", "1.weight", "1.bias", "output.bias", "dx"])
def test_gradients_that_are_wrongly_0_are_found(monkeypatch, key, indices):
    network = build((3, 7, 6), [Conv2D(5, connections=TABLE, activation="tanh"), BatchNorm()])

    def wipe(*args, **options):
        loss, dx, dparams = Network.loss(network, *args, **options)
        {**network.split(dparams), "dx": dx}[key].flat[indices] = 0
        return loss, dx, dparams

    rng = np.random.RandomState(1)
    samples = rng.standard_normal((19, 3, 7, 6)), rng.randint(0, 3, 19), np.ones(19)
    check_loss_gradients(network, rng, *samples, CROSS_ENTROPY)
    monkeypatch.setattr(network, "loss", wipe)
    with pytest.raises(AssertionError):
        check_loss_gradients(network, rng, *samples, CROSS_ENTROPY)


@pytest.mark.parametrize("shape, layers", NETWORKS, ids=str)
def test_results_are_bitwise_identical_on_any_threads_and_in_any_batch(isa, dtype, shape, layers):
    network = build(shape, layers, dtype=dtype)
    rng = np.random.RandomState(2)
    X = rng.standard_normal((37, *shape)).astype(dtype)
    target = rng.randint(0, 3, 37)
    check_batch_invariance(
        rng,
        X,
        lambda X, n_threads: network.forward(X, n_threads, "softmax"),
        lambda n_threads: network.loss(X, target, n_threads=n_threads),
    )


def test_gradients_of_large_batches_do_not_depend_on_threads(isa, dtype):
    network = build((1, 4, 4), [Conv2D(3, 2), BatchNorm(), Tanh()], dtype=dtype)
    rng = np.random.RandomState(3)
    for n in (65, 130, 700):
        X, target = rng.standard_normal((n, 1, 4, 4)).astype(dtype), rng.randint(0, 3, n)
        loss, _, dparams = network.loss(X, target)
        for n_threads in (2, 3, 5):
            again = network.loss(X, target, n_threads=n_threads)
            assert again[0] == loss
            np.testing.assert_array_equal(again[2], dparams)


def test_weights():
    layers = [Conv2D(4, (2, 3), name="stem"), Conv2D(5, bias=False), Dense(6)]
    network = build((3, 8, 8), layers, dtype=np.float32)
    weights = network.weights
    assert {key: w.shape for key, w in weights.items()} == {
        "stem.weight": (4, 3, 2, 3),
        "stem.bias": (4,),
        "1.weight": (5, 4, 3, 3),
        "2.weight": (6, 100),
        "2.bias": (6,),
        "output.weight": (3, 6),
        "output.bias": (3,),
    }
    with pytest.raises(TypeError):
        weights["2.bias"] = 0
    with pytest.raises(ValueError, match="read-only"):
        weights["2.bias"][0] = 1
    other = build((3, 8, 8), layers, dtype=np.float32, seed=5)
    X = np.random.RandomState(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    assert (other.forward(X) != network.forward(X)).any()
    other.set_weights({key: w.tolist() for key, w in weights.items()})
    np.testing.assert_array_equal(other.forward(X), network.forward(X))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"stem.bias": None}, r"missing \['stem.bias'\]"),
        ({"stem.bais": np.zeros(5)}, r"unknown \['stem.bais'\]"),
        ({"stem.bias": np.zeros(4)}, r"'stem.bias' must have shape \(5,\), got \(4,\)"),
        ({"stem.bias": np.full(5, np.nan)}, "'stem.bias' has values that are not finite"),
        ({"stem.bias": np.ones(5) * 1j}, "'stem.bias' must be real numbers, got complex128"),
        ({"stem.weight": np.ones((5, 3, 3, 3))}, "Conv2D 'stem': its weight .* connections table"),
        ({"1.running_var": -np.ones(5)}, "BatchNorm '1': its running_var has negative values"),
    ],
)
def test_set_weights_says_what_is_wrong(change, message):
    network = build((3, 7, 6), [Conv2D(5, connections=TABLE, name="stem"), BatchNorm()])
    before = network.params.copy()
    mapping = {**network.weights, **change}
    mapping = {key: value for key, value in mapping.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        network.set_weights(mapping)
    np.testing.assert_array_equal(network.params, before)


def test_pickles_have_no_compiled_programs():
    network = build((3, 7, 6), [Conv2D(4), MaxPool2D()])
    X = np.random.RandomState(0).standard_normal((4, 3, 7, 6))
    y = network.forward(X)
    again = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(again.forward(X), y)


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(kernels.list_isas()), reason="needs AVX2 and AVX-512")
def test_predictions_of_avx2_and_avx512_are_bitwise_identical():
    layers = [
        *(Conv2D(8, padding="same", groups=g, activation=a) for g, a in ((1, "gelu"), (4, "softplus"))),
        LayerNorm(),
        LocallyConnected2D(4, activation="arctan"),
        ELU(),
    ]
    network = build((3, 12, 10), layers, dtype=np.float32)
    X = np.random.RandomState(0).standard_normal((40, 3, 12, 10)).astype(np.float32)
    chosen, outputs = kernels.get_isa(), []
    for isa in ("avx2", "avx512"):
        kernels.set_isa(isa)
        outputs.append(network.forward(X, head="softmax"))
    kernels.set_isa(chosen)
    np.testing.assert_array_equal(*outputs)


def test_other_shapes_than_the_networks_are_refused():
    network = build((3, 7, 6), [Conv2D(4), Dense(5)])
    X, dy = np.ones((4, 3, 7, 6)), np.ones((4, 3))
    for wrong in (np.ones((4, 3, 7, 7)), np.ones((4, 126)), np.ones((4, 200)), np.ones(4)):
        with pytest.raises(ValueError, match=r"X must have shape \('n', 3, 7, 6\), got"):
            network.forward(wrong)
    with pytest.raises(ValueError, match=r"dy must have shape \('n', 3\), got \(4, 4\)"):
        network.backward(X, np.ones((4, 4)))
    with pytest.raises(ValueError, match="dy must have the 4 samples of X, got 3"):
        network.backward(X, dy[:3])
    for n_threads in (0, -1):
        with pytest.raises(ValueError, match="n_threads must be at least 1"):
            network.forward(X, n_threads)
    before = network.params
    for wrong in (None, np.zeros(3)):
        with pytest.raises((ValueError, TypeError)):
            network.params = wrong
    assert network.params is before


def test_layers_are_found_by_position_and_key():
    layers = [Standardize(), Conv2D(4, name="stem"), None, BatchNorm(), ReLU(), Dense(5)]
    for last in ([], [Output(bias=False)]):
        network = Network(layers + last, (2, 8, 8), 3)
        keys = {0: "0", 1: "stem", "stem": "stem", 3: "3", "3": "3", -1: "5", "output": "output"}
        assert {layer: network.find(layer).key for layer in keys} == keys
        for wrong in ("steem", 2, 6, -7):
            with pytest.raises(ValueError, match="layer: there is no layer .*Valid: .*stem"):
                network.find(wrong)
    with pytest.raises(ValueError, match="Did you mean 'stem'"):
        network.find("steem")
