"""Layers, optimizers and schedules as values: comparison, shapes, and errors for wrong arguments."""

import dataclasses

import numpy as np
import pytest
from checks import check_value

from skconvnet.layers import (
    ELU,
    Augment,
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
    LayerNorm,
    LeakyReLU,
    LocallyConnected2D,
    MaxPool2D,
    Mixup,
    Output,
    Parallel,
    PReLU,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomShift,
    ReLU,
    Rescaling,
    Residual,
    ShapeError,
    Softmax,
    Standardize,
    UpSample2D,
    ZeroPad2D,
)
from skconvnet.optimizers import OPTIMIZERS, SGD, Adadelta, Adagrad, Adam, AdamW, Lion, RMSprop
from skconvnet.schedules import (
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    OneCycle,
    ReduceOnPlateau,
    StepDecay,
    Warmup,
)

VALUES = [
    SGD(),
    SGD(momentum=0.9, nesterov=True),
    Adam(beta_2=0.99),
    *(make() for name, make in OPTIMIZERS.items() if name not in ("sgd", "adam")),
    StepDecay(0.1, 1000),
    ExponentialDecay(0.1, 1000, 0.5),
    CosineDecay(0.1, 1000),
    LinearDecay(0.1, 1000, 0.5),
    OneCycle(0.1, 1000, div_factor=10.0),
    Warmup(CosineDecay(0.1, 1000), 10),
    ReduceOnPlateau(0.1, patience=3),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values(value):
    check_value(value)
    assert sum(value == other for other in VALUES) == 1


def test_arrays_and_lists_become_comparable():
    table = np.array([[True, False], [True, True]])
    assert Conv2D(2, [3, 3], connections=table) == Conv2D(2, (3, 3), connections=table.tolist())
    assert Conv2D(np.int64(2)) == Conv2D(2) and repr(Conv2D(np.int64(2))) == "Conv2D(filters=2)"


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (Conv2D(6, 5), (1, 32, 32), (6, 28, 28)),
        (Conv2D(6, 5, padding="same"), (1, 9, 7), (6, 9, 7)),
        (Conv2D(6, 4, stride=3, padding="same"), (1, 9, 7), (6, 3, 3)),
        (Conv2D(6, (2, 3), padding=(1, 0)), (1, 9, 7), (6, 10, 5)),
        (Conv2D(6, 3, padding=((2, 0), (0, 1))), (1, 9, 7), (6, 9, 6)),
        (Conv2D(6, 3, dilation=(2, 1)), (1, 9, 7), (6, 5, 5)),
        (Conv2D(6, 1, stride=4), (1, 9, 7), (6, 3, 2)),
        (MaxPool2D(), (3, 9, 7), (3, 4, 3)),
        (MaxPool2D(3, stride=1, padding="same"), (3, 9, 7), (3, 9, 7)),
        (AvgPool2D((2, 3), padding="same"), (3, 9, 7), (3, 5, 3)),
        (Flatten(), (3, 9, 7), (189,)),
        (Dense(4), (3, 9, 7), (4,)),
        (Dense(4), (189,), (4,)),
        (ReLU(), (3, 9, 7), (3, 9, 7)),
        (BatchNorm(), (3, 9, 7), (3, 9, 7)),
        (BatchNorm(), (189,), (189,)),
        (Conv2D(6, groups=3), (9, 9, 7), (6, 7, 5)),
        (LocallyConnected2D(6, (2, 3), stride=(1, 2), padding="same"), (3, 9, 7), (6, 9, 4)),
        (GlobalAvgPool2D(), (3, 9, 7), (3,)),
        (GlobalMaxPool2D(), (3, 9, 7), (3,)),
        (LayerNorm(), (3, 9, 7), (3, 9, 7)),
        (Rescaling(2), (189,), (189,)),
        (ZeroPad2D((1, 0)), (3, 9, 7), (3, 11, 7)),
        (Softmax(), (3, 9, 7), (3, 9, 7)),
        (Dropout(), (189,), (189,)),
        (RandomCrop(5), (3, 9, 7), (3, 5, 5)),
        (RandomCrop((9, 10), padding=(0, 2)), (3, 9, 7), (3, 9, 10)),
        (GaussianNoise(), (189,), (189,)),
        (Standardize(), (3, 9, 7), (3, 9, 7)),
        (Residual([Conv2D(5, stride=2, padding="same")]), (3, 9, 7), (5, 5, 4)),
        (Residual([Dense(4)]), (189,), (4,)),
        (Conv2DTranspose(6, 4, stride=2, padding=1), (3, 9, 7), (6, 18, 14)),
        (Conv2DTranspose(6, 3, stride=2, padding=1, output_padding=(1, 0)), (3, 9, 7), (6, 18, 13)),
        (Conv2DTranspose(6, (2, 5), stride=(3, 1), padding="same"), (3, 9, 7), (6, 27, 7)),
        (Conv2DTranspose(6, 3, dilation=2, groups=3), (3, 9, 7), (6, 13, 11)),
        (UpSample2D(), (3, 9, 7), (3, 18, 14)),
        (UpSample2D((1, 3), "bilinear"), (3, 9, 7), (3, 9, 21)),
        (PReLU(), (3, 9, 7), (3, 9, 7)),
        (PReLU(), (189,), (189,)),
        (
            Parallel([[Conv2D(5, padding="same")], [], [MaxPool2D(3, stride=1, padding=1)]]),
            (3, 9, 7),
            (11, 9, 7),
        ),
        (Parallel([[Dense(4)], [Flatten()]]), (3, 9, 7), (193,)),
        (
            Parallel([[Conv2D(5, stride=2)], [MaxPool2D(3, stride=2), Conv2D(5, 1)]], "max"),
            (3, 9, 7),
            (5, 4, 3),
        ),
        (Parallel([[GlobalAvgPool2D()], []], "multiply"), (3, 9, 7), (3, 9, 7)),
        (Parallel([[GlobalAvgPool2D()], []], "multiply"), (3, 1, 1), (3, 1, 1)),
        (Parallel([[AvgPool2D((9, 7))], [GlobalAvgPool2D()]], "multiply"), (3, 9, 7), (3, 1, 1)),
        (Parallel([[Dense(4)], None], "add"), (189,), (4,)),
    ],
    ids=str,
)
def test_output_shape(layer, shape, expected):
    assert layer.output_shape(shape) == expected


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("kernel", range(1, 10))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_sizes_follow_the_formula_or_are_refused(size, kernel, stride, padding):
    conv = Conv2D(1, kernel, stride=stride, padding=padding)
    if size + 2 * padding < kernel:
        with pytest.raises(ShapeError):
            conv.output_shape((1, size, size))
    else:
        n = (size + 2 * padding - kernel) // stride + 1
        assert conv.output_shape((1, size, size)) == (1, n, n)
    same = Conv2D(1, kernel, stride=stride, padding="same")
    assert same.output_shape((1, size, size))[1] == -(-size // stride)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2D(2),
        LocallyConnected2D(2),
        MaxPool2D(),
        AvgPool2D(),
        GlobalAvgPool2D(),
        GlobalMaxPool2D(),
        ZeroPad2D(1),
    ],
    ids=repr,
)
def test_images_are_needed(layer):
    with pytest.raises(ShapeError) as error:
        layer.output_shape((64,))
    assert "input_shape=" in error.value.remedy


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Conv2D(0), "Conv2D: filters must be an int of at least 1, got 0"),
        (lambda: Conv2D(2.5), "filters must be an int"),
        (lambda: Conv2D(True), "filters must be an int"),
        (lambda: Conv2D(2, 0), "kernel_size must be an int of at least 1 or a pair"),
        (lambda: Conv2D(2, (3, 3, 3)), "kernel_size must be"),
        (lambda: Conv2D(2, stride=0), "stride must be"),
        (lambda: Conv2D(2, padding=2**40), r"\(and at most 1048576\)"),
        (lambda: Conv2D(2, stride=(1, -1)), "stride must be"),
        (lambda: Conv2D(2, bias="no"), "Conv2D: bias must be True or False, got 'no'"),
        (lambda: Dense(2, bias=2), "Dense: bias must be True or False"),
        (lambda: Output(dense=0), "Output: dense must be True or False"),
        (lambda: Conv2D(2, padding=2**18).output_shape((1, 9, 9)), "at most 268435456 pixels"),
        (lambda: Conv2D(2, padding="full"), 'padding must be "valid", "same"'),
        (lambda: Conv2D(2, padding=-1), "padding must be an int of at least 0"),
        (lambda: Conv2D(2, padding=((1, 1), (1, -1))), "padding must be"),
        (lambda: Conv2D(2, activation="rleu"), r"unknown activation 'rleu'.*Did you mean 'relu'\?"),
        (lambda: Conv2D(2, activation=Dense(3)), "unknown activation"),
        (lambda: Conv2D(2, init="xavier"), "unknown init 'xavier'"),
        (lambda: Conv2D(2, connections=[[1, 0]]), r"shape \(filters, channels\) = \(2, channels\)"),
        (lambda: Conv2D(2, connections=[[3, 0], [1, 1]]), "connections must be a bool array"),
        (lambda: Conv2D(2, name="a__b"), "name must be an identifier without '__'"),
        (lambda: Conv2D(2, name="0"), "name must be an identifier"),
        (lambda: MaxPool2D(0), "MaxPool2D: pool_size must be"),
        (lambda: AvgPool2D(2, stride=0), "AvgPool2D: stride must be"),
        (lambda: Dense(-3), "Dense: units must be"),
        (lambda: LeakyReLU(-0.1), r"slope must be a number in \[0, inf\)"),
        (lambda: ELU(-1), r"ELU: alpha must be a number in \[0, inf\), got -1"),
        (lambda: ELU(np.inf), "ELU: alpha must be"),
        (lambda: Conv2D(2, activation="geul"), "Did you mean 'gelu'"),
        (lambda: Conv2D(4, groups=0), "Conv2D: groups must be an int of at least 1, got 0"),
        (lambda: Conv2D(4, groups=3), "filters must be a multiple of groups, got filters=4 and groups=3"),
        (lambda: Conv2D(2, groups=2, connections=[[1], [1]]), "both groups and connections"),
        (lambda: Conv2D(4, groups=2).output_shape((3, 9, 9)), "channels make 2 equal groups"),
        (lambda: LocallyConnected2D(0), "LocallyConnected2D: filters must be"),
        (lambda: LocallyConnected2D(2, stride=0), "LocallyConnected2D: stride must be"),
        (lambda: LocallyConnected2D(2, 9).output_shape((1, 5, 5)), "an input of at least 9x9 pixels"),
        (lambda: LayerNorm(epsilon=0), r"LayerNorm: epsilon must be a number in \(0, inf\)"),
        (lambda: LayerNorm(scale=1), "LayerNorm: scale must be True or False"),
        (lambda: Rescaling("2"), r"Rescaling: scale must be a number in \(-inf, inf\), got '2'"),
        (lambda: Rescaling(1, np.nan), "Rescaling: offset must be a number"),
        (lambda: ZeroPad2D("same"), "ZeroPad2D: padding must be an int, a pair"),
        (lambda: ZeroPad2D(-1), "ZeroPad2D: padding must be"),
        (lambda: ZeroPad2D(2**18).output_shape((1, 9, 9)), "at most 268435456 pixels"),
        (lambda: Output(init=3), "unknown init 3"),
        (lambda: Dropout(1), r"Dropout: rate must be a number in \[0, 1\), got 1"),
        (lambda: Dropout(-0.1), "Dropout: rate must be"),
        (lambda: RandomFlip(1), "RandomFlip: horizontal must be True or False, got 1"),
        (lambda: RandomFlip(vertical="no"), "RandomFlip: vertical must be True or False"),
        (lambda: RandomFlip().output_shape((7,)), r"images \(channels, height, width\)"),
        (lambda: RandomShift(-1), "RandomShift: pixels must be an int of at least 0"),
        (lambda: RandomCrop(0), "RandomCrop: size must be an int of at least 1"),
        (lambda: RandomCrop(5, padding=-1), "RandomCrop: padding must be an int of at least 0"),
        (lambda: RandomCrop(9, padding=(0, 2)).output_shape((1, 7, 5)), "an input of at least 9x5 pixels"),
        (lambda: RandomCrop(9, padding=2**18).output_shape((1, 9, 9)), "at most 268435456 pixels"),
        (lambda: RandomRotation(181), r"RandomRotation: degrees must be a number in \[0, 180\], got 181"),
        (lambda: RandomErasing(0.4), "RandomErasing: size must be a pair of numbers from 0 to 1"),
        (lambda: RandomErasing((0.4, 0.1)), "RandomErasing: size must be a pair"),
        (lambda: RandomErasing((0.1, np.nan)), "RandomErasing: size must be a pair"),
        (lambda: RandomErasing(probability=2), r"RandomErasing: probability must be a number in \[0, 1\]"),
        (lambda: GaussianNoise(-1), r"GaussianNoise: stddev must be a number in \[0, inf\), got -1"),
        (lambda: GaussianNoise(np.inf), "GaussianNoise: stddev must be"),
        (lambda: Residual([ReLU()], shortcut="no"), 'Residual: shortcut must be "auto" or a list'),
        (lambda: Residual([ReLU(name="a"), ReLU(name="a")]), "the same name 'a'"),
        (lambda: Residual([ReLU(name="shortcut")]), 'the name "shortcut" is taken'),
        (lambda: Residual([Output()]), "Residual: Output belongs in the network itself"),
        (lambda: Residual([Standardize()]), "Residual: Standardize belongs in the network itself"),
        (lambda: Residual([Mixup()]), "Residual: Mixup belongs in the network itself"),
        (lambda: Residual([Augment(max)]), "Residual: Augment belongs in the network itself"),
        (lambda: Mixup(0), r"Mixup: alpha must be a number in \[1e-6, 1e6\], got 0"),
        (lambda: Mixup("a"), "Mixup: alpha must be a number"),
        (lambda: Augment(3), r"Augment: function must be a callable \(X, rng\) -> X or .*, got 3"),
        (lambda: Residual([Conv2D(2, 9)]).output_shape((1, 5, 5)), "Conv2D '0' an input of at least 9x9"),
        (lambda: Residual([Conv2D(2)]).output_shape((1, 9, 5)), "which no stride gives"),
        (lambda: Residual([Flatten()]).output_shape((1, 9, 5)), "which no stride gives"),
        (lambda: Residual([ReLU()], [Conv2D(2, 1)]).output_shape((1, 9, 5)), "a shortcut that gives 9x5"),
        (lambda: PReLU(np.inf), "PReLU: slope must be a number"),
        (lambda: UpSample2D(0), "UpSample2D: size must be an int of at least 1"),
        (
            lambda: UpSample2D(2, "cubic"),
            "UpSample2D: unknown interpolation 'cubic'. Valid: bilinear, nearest",
        ),
        (lambda: UpSample2D(2**18).output_shape((1, 9, 9)), "at most 268435456 pixels"),
        (lambda: UpSample2D().output_shape((9,)), r"images \(channels, height, width\)"),
        (lambda: Conv2DTranspose(0), "Conv2DTranspose: filters must be an int of at least 1"),
        (lambda: Conv2DTranspose(4, groups=3), "Conv2DTranspose: filters must be a multiple of groups"),
        (lambda: Conv2DTranspose(4, groups=2).output_shape((3, 9, 9)), "channels make 2 equal groups"),
        (lambda: Conv2DTranspose(4, output_padding=-1), "output_padding must be an int of at least 0"),
        (
            lambda: Conv2DTranspose(4, stride=2, output_padding=2),
            "output_padding must be less than stride or dil",
        ),
        (lambda: Conv2DTranspose(4, padding="same", stride=2, output_padding=1), 'padding="same" determines'),
        (
            lambda: Conv2DTranspose(4, 3, padding=3).output_shape((1, 3, 9)),
            "an output of at least 1x1 pixels",
        ),
        (lambda: Conv2DTranspose(4, 3, stride=2**18).output_shape((1, 9, 9)), "at most 268435456 pixels"),
        (lambda: Conv2DTranspose(4, init="dirac"), "unknown init 'dirac'"),
        (lambda: Parallel([]), "at least one list of layers"),
        (lambda: Parallel([None]), "at least one list of layers"),
        (lambda: Parallel([[]], "sum"), r"unknown merge 'sum'. Did you mean 'add'\?"),
        (
            lambda: Parallel([[]], "stack"),
            "unknown merge 'stack'. Valid: add, average, concat, max, multiply",
        ),
        (lambda: Parallel([[], [ReLU(name="a"), ReLU(name="a")]]), r"branches\[1\]: .* the same name 'a'"),
        (lambda: Parallel([[Mixup()]]), "Parallel: Mixup belongs in the network itself"),
        (lambda: Parallel([[], [Residual([Output()])]]), "Residual: Output belongs in the network itself"),
        (
            lambda: Parallel([[], [ReLU(), Conv2D(2, 9)]]).output_shape((1, 5, 5)),
            r"for its Conv2D '1' of branches\[1\] an input of at least 9x9",
        ),
        (
            lambda: Parallel([None, [Parallel([[Conv2D(2, 9)]], name="inner")]]).output_shape((1, 5, 5)),
            r"Parallel 'inner' of branches\[1\] for its Conv2D '0' of branches\[0\] an input of at least 9x9",
        ),
        (
            lambda: Parallel([[Conv2D(3)], None, []]).output_shape((1, 9, 5)),
            r"output of branches\[0\] is 7x3 pixels in 3 channels, that of branches\[2\] 9x5 pixels in 1 ch",
        ),
        (lambda: Parallel([[], [Flatten()]]).output_shape((1, 9, 5)), r"branches\[1\] is 45 features"),
        (
            lambda: Parallel([[], [Dense(3)]], "multiply").output_shape((4, 9, 5)),
            r"branches\[1\] is 3 features",
        ),
        (lambda: Parallel([[], [Dense(4)]], "add").output_shape((4, 9, 5)), r"merge='add'; .* is 4 features"),
        (lambda: SGD(momentum=1), r"SGD: momentum must be a number in \[0, 1\), got 1"),
        (lambda: SGD(nesterov="yes"), "SGD: nesterov must be True or False, got 'yes'"),
        (lambda: AdamW(beta_2=1.0), r"AdamW: beta_2 must be a number in \[0, 1\), got 1.0"),
        (lambda: Lion(beta_1=-0.1), r"Lion: beta_1 must be a number in \[0, 1\), got -0.1"),
        (lambda: Adagrad(momentum=2), r"Adagrad: momentum must be a number in \[0, 1\), got 2"),
        (lambda: RMSprop(rho="a"), r"RMSprop: rho must be a number in \[0, 1\), got 'a'"),
        (lambda: Adadelta(epsilon=np.nan), r"Adadelta: epsilon must be a number in \(0, inf\), got nan"),
        (lambda: Adam(epsilon=0), r"Adam: epsilon must be a number in \(0, inf\), got 0"),
    ],
)
def test_wrong_values_fail_where_they_are_typed(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "init, variance",
    [
        ("he_normal", 2 / 150),
        ("he_uniform", 2 / 150),
        ("lecun_normal", 1 / 150),
        ("lecun_uniform", 1 / 150),
        ("glorot_normal", 2 / (150 + 200 * 25)),
        ("glorot_uniform", 2 / (150 + 200 * 25)),
        ("small_normal", 0.03 / 150),
        ("small_uniform", 0.03 / 150),
        ("normal", 0.05**2),
        ("uniform", 0.05**2 / 3),
        ("zeros", 0),
    ],
)
def test_initial_weights(init, variance):
    parameters = Conv2D(200, 5, init=init).initialize((6, 9, 9), np.random.RandomState(0))
    assert parameters["weight"].shape == (200, 6, 5, 5) and not parameters["bias"].any()
    assert parameters["weight"].var() == pytest.approx(variance, rel=0.03)
    if init.endswith("uniform"):
        limit = np.sqrt(3 * variance)
        assert 0.99 * limit < np.abs(parameters["weight"]).max() <= limit


def test_initial_weights_of_a_connection_table():
    table = np.zeros((200, 6), bool)
    table[:100, :2] = table[100:, :] = True
    weight = Conv2D(200, 5, connections=table).initialize((6, 9, 9), np.random.RandomState(0))["weight"]
    assert not weight[~table].any()
    assert weight[:100, :2].var() == pytest.approx(2 / 50, rel=0.05)
    assert weight[100:].var() == pytest.approx(2 / 150, rel=0.05)


def test_initial_weights_of_groups_and_of_unshared_kernels():
    weight = Conv2D(200, 5, groups=2).initialize((12, 9, 9), np.random.RandomState(0))["weight"]
    assert weight.shape == (200, 6, 5, 5)
    assert weight.var() == pytest.approx(2 / 150, rel=0.03)
    conv = Conv2D(200, 5, groups=2, init="glorot_normal")
    weight = conv.initialize((12, 9, 9), np.random.RandomState(0))["weight"]
    assert weight.var() == pytest.approx(2 / (150 + 100 * 25), rel=0.03)
    parameters = LocallyConnected2D(8, 5).initialize((6, 9, 9), np.random.RandomState(0))
    assert parameters["weight"].shape == (8, 5, 5, 6, 5, 5) and parameters["bias"].shape == (8, 5, 5)
    assert parameters["weight"].var() == pytest.approx(2 / 150, rel=0.03)


def test_initial_weights_from_a_callable():
    def init(shape, fan_in, fan_out, rng):
        return np.full(shape, fan_in + fan_out)

    assert (Dense(3, init=init).initialize((7,), None)["weight"] == 10).all()


@pytest.mark.parametrize("layer", [Dense(3), Conv2D(3, 2)], ids=repr)
@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda shape: np.ones(shape[:-1]), "must return finite numbers of shape .*, got shape"),
        (lambda shape: np.full(shape, np.nan), "and values that are not finite"),
    ],
)
def test_wrong_initial_weights_from_a_callable(layer, wrong, message):
    layer = dataclasses.replace(layer, init=lambda shape, fan_in, fan_out, rng: wrong(shape))
    with pytest.raises(ValueError, match=message):
        layer.initialize((2, 3, 3), None)


def test_a_residual_connection_names_its_parameters():
    layer = Residual([Conv2D(5, name="a"), BatchNorm()], shortcut=[Conv2D(5), BatchNorm(scale=False)])
    assert layer.parameter_shapes((3, 9, 9)) == {
        "a.weight": (5, 3, 3, 3),
        "a.bias": (5,),
        "1.weight": (5,),
        "1.bias": (5,),
        "shortcut.0.weight": (5, 3, 3, 3),
        "shortcut.0.bias": (5,),
        "shortcut.1.bias": (5,),
    }
    assert set(layer.statistic_shapes((3, 9, 9))) == {
        f"{owner}1.running_{name}" for owner in ("", "shortcut.") for name in ("mean", "var")
    }
    assert layer.list_decaying((3, 9, 9)) == ["a.weight", "shortcut.0.weight"]
    assert layer.count_parameters((3, 9, 9)) == 2 * (5 * 27 + 5) + 15
    with pytest.raises(TypeError, match="must be a layer or None, got 3"):
        Residual([3])


def test_branches_name_their_parameters():
    layer = Parallel(
        [[Conv2D(5, 1, name="a")], None, [BatchNorm(), Residual([Conv2D(3, padding=1, bias=False)])]]
    )
    assert layer.parameter_shapes((3, 9, 9)) == {
        "0.a.weight": (5, 3, 1, 1),
        "0.a.bias": (5,),
        "2.0.weight": (3,),
        "2.0.bias": (3,),
        "2.1.0.weight": (3, 3, 3, 3),
    }
    assert set(layer.statistic_shapes((3, 9, 9))) == {"2.0.running_mean", "2.0.running_var"}
    assert layer.list_decaying((3, 9, 9)) == layer.list_matrices((3, 9, 9)) == ["0.a.weight", "2.1.0.weight"]
    assert layer.count_parameters((3, 9, 9)) == 20 + 6 + 81


@pytest.mark.parametrize(
    "branches, message",
    [
        (Conv2D(3), "Parallel: branches must be a list of lists of layers"),
        ("concat", "Parallel: branches must be a list of lists of layers"),
        (
            [[], Conv2D(3, 1)],
            r"branches\[1\] must be a list of layers.*Write \[Conv2D\(filters=3, kernel_size=1\)\]",
        ),
        ([3], r"branches\[0\] must be a list of layers, got 3"),
        ([[], [3]], r"Parallel: branches\[1\]: layers\[0\] must be a layer or None, got 3"),
    ],
)
def test_branches_must_be_lists(branches, message):
    with pytest.raises(TypeError, match=message):
        Parallel(branches)
