"""The contract that every layer keeps: shapes, outputs, gradients, batch invariance, memory, values."""

import dataclasses
from itertools import product

import numpy as np
import pytest
import reference
from checks import build, check_batch_invariance, check_gradients, check_value
from sklearn.base import clone

from skconvnet import ConvNetClassifier
from skconvnet import layers as all_layers
from skconvnet.layers import (
    ELU,
    GELU,
    SELU,
    Arctan,
    Augment,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    Function,
    GaussianNoise,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    Hardswish,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    LocallyConnected1D,
    LocallyConnected2D,
    LogSoftmax,
    MaxPool1D,
    MaxPool2D,
    Mish,
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
from skconvnet.layers.activation import ACTIVATIONS, resolve_activation
from skconvnet.layers.branches import MERGES
from skconvnet.layers.window import pad_image

IMAGE, PIXEL, ROW, COLUMN, VECTOR = (3, 7, 6), (3, 1, 1), (2, 1, 12), (1, 11, 1), (7,)
SIGNAL = (3, 1, 14)
PADDINGS = ["valid", "same", 1, (1, 0), ((0, 2), (1, 0))]
TABLE = [[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0]]


@dataclasses.dataclass(frozen=True)
class Square:
    """A function for `Function`, whose repr evaluates."""

    factor: float

    def __call__(self, x):
        return self.factor * x * x


@dataclasses.dataclass(frozen=True)
class Line:
    """The derivative of `Square`."""

    factor: float

    def __call__(self, x):
        return 2 * self.factor * x


def list_rows():
    """Yield every layer with many settings, and input shapes that it takes."""
    for kernel, stride, padding in product([1, 3, (2, 4)], [1, (2, 3)], PADDINGS):
        yield Conv2D(5, kernel, stride=stride, padding=padding), IMAGE
    for dilation, stride, padding in product([2, (1, 3)], [1, (1, 2)], ["same", 0, 2]):
        yield Conv2D(4, (3, 2), dilation=dilation, stride=stride, padding=padding), (2, 9, 8)
    for groups, kernel, padding in product([2, 4], [1, 3, (1, 2)], ["valid", "same", 2]):
        yield Conv2D(8, kernel, groups=groups, padding=padding, bias=padding != 2), (4, 6, 5)
    for kernel, stride, padding in product([1, 3, (7, 6)], [1, 2], ["valid", "same"]):
        yield Conv2D(5, kernel, stride=stride, padding=padding, connections=TABLE), IMAGE
    for shape, padding in product([PIXEL, ROW, COLUMN], ["same", 2]):
        yield Conv2D(3, padding=padding, bias=False), shape
        yield LocallyConnected2D(3, padding=padding, bias=False), shape
    yield Conv2D(5, 1), PIXEL
    yield Conv2D(17, (7, 6), bias=False, name="whole"), IMAGE
    yield Conv2D(6, 3, groups=6), (6, 4, 3)
    yield Conv2D(32, groups=2, padding="same"), (32, 4, 8)
    # these use Winograd
    yield Conv2D(8, padding="same"), (16, 7, 8)
    yield Conv2D(9, 5, bias=False), (10, 22, 12)
    yield Conv2D(9, (5, 2), padding=((2, 2), (1, 0))), (24, 13, 7)
    yield Conv2D(12, (1, 3), padding="same", activation="relu"), (48, 2, 9)
    for kernel, stride, padding in product([1, 3, (2, 4)], [1, 2, (3, 1)], ["valid", "same", 1]):
        if kernel != 1 or padding != 1:
            yield Conv2DTranspose(5, kernel, stride=stride, padding=padding), IMAGE
    for groups, dilation, stride in product([1, 2, 4], [1, (2, 3)], [(1, 2), 3]):
        options = {"dilation": dilation, "stride": stride, "bias": stride == 3, "output_padding": (0, 1)}
        yield Conv2DTranspose(8, 3, groups=groups, padding=((0, 1), (2, 1)), **options), (4, 5, 6)
    yield Conv2DTranspose(4, (1, 4), stride=(1, 2), padding="same", activation="relu"), ROW
    yield Conv2DTranspose(17, 4, stride=4, activation="tanh", name="up"), PIXEL
    yield Conv2DTranspose(6, 2, stride=3, padding="same", activation="arctan"), (9, 3, 4)
    for size, interpolation in product([1, 2, 3, 4, (1, 2), (3, 2)], ["nearest", "bilinear"]):
        yield UpSample2D(size, interpolation), IMAGE
    for interpolation, shape in product(["nearest", "bilinear"], [PIXEL, ROW, COLUMN]):
        yield UpSample2D(3, interpolation, name="up"), shape
    for shape in (IMAGE, PIXEL, ROW, VECTOR):
        yield PReLU(), shape
        yield PReLU(-0.5, learning_rate_factor=0.5), shape
    for kernel, stride, padding in product([1, (2, 4)], [1, (1, 2)], PADDINGS[1:4]):
        yield LocallyConnected2D(4, kernel, stride=stride, padding=padding), IMAGE
    yield LocallyConnected2D(14, 2, name="local"), (5, 4, 3)
    for pool in (MaxPool2D, AvgPool2D):
        for size, stride, padding in product([2, (3, 2)], [None, 1, (2, 3)], PADDINGS[:3]):
            yield pool(size, stride=stride, padding=padding), IMAGE
        yield pool(3, padding=((0, 2), (1, 0)), name="pool"), IMAGE
        yield pool((7, 6)), IMAGE
        yield pool((1, 3)), ROW
        yield pool(1), PIXEL
        yield pool(2, padding="same"), PIXEL
        yield pool((4, 1), stride=2), COLUMN
    for layer, shape in product([GlobalAvgPool2D(), GlobalMaxPool2D()], [IMAGE, PIXEL, ROW, COLUMN]):
        yield layer, shape
    for kernel, stride, padding in product([1, 4], [1, 3], ["valid", "same", "causal", 2, (0, 3)]):
        yield Conv1D(5, kernel, stride=stride, padding=padding), SIGNAL
        yield LocallyConnected1D(3, kernel, stride=stride, padding=padding, bias=padding != 2), SIGNAL
    yield Conv1D(6, 3, groups=3, dilation=2, padding="causal", bias=False), SIGNAL
    yield Conv1D(5, 3, connections=TABLE, activation="tanh"), SIGNAL
    yield Conv1D(5, 14, name="whole"), SIGNAL
    yield Conv1D(4, 2, padding="same", init="dirac"), PIXEL
    yield Conv1D(9, 5, padding="same"), (48, 1, 13)  # this uses Winograd
    for pool in (MaxPool1D, AvgPool1D):
        for size, stride, padding in product([2, 3], [None, 1], ["valid", "same", "causal", (1, 0)]):
            yield pool(size, stride=stride, padding=padding), SIGNAL
    for layer, shape in product([GlobalAvgPool1D(), GlobalMaxPool1D()], [SIGNAL, PIXEL]):
        yield layer, shape
    for units, bias, shape in product([1, 33], [True, False], [IMAGE, PIXEL, VECTOR, (40,)]):
        yield Dense(units, bias=bias), shape
    for dense, bias in product([True, False], [True, False]):
        yield Output(dense=dense, bias=bias), (3,)
        yield Output(dense=dense, bias=bias), PIXEL
    yield Output(), IMAGE
    for activation in (*ACTIVATIONS, LeakyReLU(0.3), ELU(0.5)):
        layer = resolve_activation("", activation)
        for shape in (IMAGE, PIXEL, VECTOR):
            yield layer, shape
        yield Conv2D(5, padding="same", activation=activation), IMAGE
        yield LocallyConnected2D(5, 2, activation=activation), IMAGE
        yield Dense(9, activation=activation), VECTOR
    square = Function(Square(0.5), Line(0.5), name="square")
    for shape in (IMAGE, PIXEL, VECTOR):
        yield Function(Square(0.5), Line(0.5)), shape
        yield square, shape
    yield Conv2D(5, padding="same", activation=square), IMAGE
    yield Dense(9, activation=square), VECTOR
    yield Residual([Conv2D(3, padding="same"), square, BatchNorm()], shortcut=[square]), IMAGE
    for shape, scale, center in product([IMAGE, VECTOR], [True, False], [True, False]):
        yield BatchNorm(momentum=0.5, scale=scale, center=center), shape
        yield LayerNorm(scale=scale, center=center), shape
    for layer in (BatchNorm(epsilon=0.1, name="norm"), LayerNorm(epsilon=0.1, name="norm")):
        yield layer, IMAGE
    others = [
        Flatten(),
        Mixup(),
        Mixup(1, name="mix"),
        Standardize(),
        Rescaling(0.5),
        Rescaling(-2, offset=3),
        Rescaling(0),
        Dropout(0.3),
    ]
    for layer, shape in product(others, [IMAGE, VECTOR]):
        yield layer, shape
    yield BatchNorm(), PIXEL
    yield LayerNorm(), PIXEL
    yield Dropout(0), ROW
    yield Dropout(0.9, name="drop"), VECTOR
    for shape, padding in product([IMAGE, PIXEL, ROW], [0, 2, (1, 0), ((0, 1), (2, 3))]):
        yield ZeroPad2D(padding), shape
    for shape in (IMAGE, PIXEL, ROW):
        yield RandomFlip(), shape
        yield RandomFlip(vertical=True, alternating=True), shape
        yield RandomFlip(horizontal=shape is ROW, vertical=True, name="flip"), shape
        yield RandomShift((1, 3)), shape
        yield RandomRotation(170), shape
        yield RandomErasing(probability=0.8), shape
        yield RandomCrop(shape[1:], padding=2), shape
        yield GaussianNoise(), shape
    for size, padding in product([1, 4, (2, 6)], [0, (3, 1)]):
        yield RandomCrop(size, padding=padding), IMAGE
    yield RandomCrop((9, 7), padding=(1, 4)), IMAGE
    yield RandomShift(0), IMAGE
    yield RandomRotation(0, name="still"), IMAGE
    yield RandomErasing((0, 1), probability=1), IMAGE
    yield GaussianNoise(3), VECTOR
    for shape in (IMAGE, COLUMN, VECTOR):
        yield Residual([]), shape
        yield Residual([Tanh(), Rescaling(0.5)], name="outer"), shape
        yield Residual([BatchNorm(), Dropout(0.2), Dropout(0.6)], shortcut=[Sigmoid()]), shape
    for filters, stride, norm in product([3, 5], [1, 2, (2, 1)], [None, BatchNorm()]):
        first = Conv2D(filters, stride=stride, padding="same", bias=norm is None, name="first")
        yield Residual([first, norm, Tanh()]), IMAGE
    for units, activation in product([7, 4], ["tanh", "relu"]):
        yield Residual([Dense(units, activation=activation), LayerNorm()]), VECTOR
    augmented = [RandomShift(), RandomErasing(), RandomRotation()]
    yield Residual([RandomFlip(), Conv2D(3, padding=1), *augmented], shortcut=[GaussianNoise()]), IMAGE
    yield Residual([MaxPool2D(), Conv2D(5, 1)], shortcut=[AvgPool2D(), BatchNorm(), Conv2D(5, 1)]), IMAGE
    yield Residual([Residual([LayerNorm(), Conv2D(3, padding=1)]), GELU()], shortcut=[Softplus()]), IMAGE
    yield Residual([GlobalMaxPool2D(), Dense(2)], shortcut=[Conv2D(2, 1), GlobalAvgPool2D()]), IMAGE
    yield Residual([Conv1D(4, stride=2, padding="same"), Residual([BatchNorm()])]), SIGNAL
    for merge, shape in product(MERGES, [IMAGE, PIXEL, COLUMN, VECTOR]):
        yield Parallel([[Tanh()], [], [Rescaling(0.5), BatchNorm(), Dropout(0.4)]], merge), shape
        yield Parallel([[Dropout(0.2)], [LayerNorm()]], merge, name="outer"), shape
        yield Parallel([[], [], None], merge), shape
        yield Parallel([[Sigmoid()]], merge), shape
    within = Parallel([[BatchNorm(), Tanh()], [Conv2D(3, padding=1)], []], "average")
    yield Residual([within], shortcut=[Sigmoid(), within]), IMAGE
    for merge in MERGES:
        same = {"padding": "same", "activation": "tanh"}
        yield (
            Parallel([[Conv2D(5, 1)], [Conv2D(2, 1), Conv2D(5, **same)], [Conv2D(5, (5, 2), **same)]], merge),
            IMAGE,
        )
        yield Parallel([[Conv2D(2), Dense(4)], [GlobalAvgPool2D(), Dense(4)], [Dense(4)]], merge), IMAGE
        yield (
            Parallel([[Conv2D(4), Flatten()], [MaxPool2D((2, 1)), Conv2D(5, (1, 3)), Dense(80)]], merge),
            IMAGE,
        )
        yield (
            Parallel(
                [[Conv1D(4, 3, padding="causal")], [AvgPool1D(3, stride=1, padding=1), Conv1D(4, 1)]], merge
            ),
            SIGNAL,
        )
        yield Parallel([[Residual([Conv2D(3, padding=1)]), GELU()], [within], [Residual([])]], merge), IMAGE
    for shape in (IMAGE, PIXEL, ROW):
        channels = shape[0]
        factors = [GlobalAvgPool2D(), Dense(2, activation="tanh"), Dense(channels, activation="sigmoid")]
        yield Parallel([[], factors], "multiply"), shape
        yield Parallel([factors, [Conv2D(channels, 1, bias=False), BatchNorm()], factors], "multiply"), shape
        yield Parallel([[AvgPool2D(shape[1:]), Conv2D(channels, 1)], factors, [Tanh()]], "multiply"), shape
    yield (
        Residual([Conv2D(3, padding=1), Parallel([[], [GlobalMaxPool2D(), Sigmoid()]], "multiply"), Tanh()]),
        IMAGE,
    )
    yield Parallel([[RandomFlip(), Conv2D(3, padding=1)], [], [GaussianNoise()]], "max"), IMAGE


ROWS = list(list_rows())
each_row = pytest.mark.parametrize("layer, shape", ROWS, ids=str)


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def run_conv2d(layer, x, p, draws):
    kernel, stride, dilation = map(pair, (layer.kernel_size, layer.stride, layer.dilation))
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    padding = pad_image(x.shape[1:], span, stride, layer.padding)
    weight, bias = p["weight"], p.get("bias", np.zeros(layer.filters))
    if layer.groups > 1:
        y = reference.grouped_conv2d(x, weight, bias, layer.groups, stride, dilation, padding)
    else:
        table = np.ones(weight.shape[:2], bool) if layer.connections is None else np.array(layer.connections)
        y = reference.conv2d(x, weight, bias, stride, dilation, padding, table)
    return run_reference(resolve_activation("", layer.activation), y, {}, draws)


def run_transposed_conv2d(layer, x, p, draws):
    kernel, stride, dilation = map(pair, (layer.kernel_size, layer.stride, layer.dilation))
    y_shape = layer.output_shape(x.shape[1:])
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    cut, bias = pad_image(y_shape, span, stride, layer.padding), p.get("bias", np.zeros(layer.filters))
    y = reference.transposed_conv2d(x, p["weight"], bias, layer.groups, stride, dilation, cut, y_shape[1:])
    return run_reference(resolve_activation("", layer.activation), y, {}, draws)


def run_local_conv2d(layer, x, p, draws):
    kernel, stride = pair(layer.kernel_size), pair(layer.stride)
    padding = pad_image(x.shape[1:], kernel, stride, layer.padding)
    y = reference.local_conv2d(x, p["weight"], p.get("bias", 0), stride, padding)
    return run_reference(resolve_activation("", layer.activation), y, {}, draws)


def run_dense(layer, x, p, draws):
    y = reference.dense(x.reshape(len(x), -1), p["weight"], p.get("bias", 0))
    return run_reference(resolve_activation("", layer.activation), y, {}, draws)


def run_pool2d(pool):
    def run(layer, x, p, draws):
        size = pair(layer.pool_size)
        stride = size if layer.stride is None else pair(layer.stride)
        return pool(x, size, stride, pad_image(x.shape[1:], size, stride, layer.padding))

    return run


def run_batch_norm(layer, x, p, draws):
    moments = p["running_mean"], p["running_var"]
    if draws is not None and isinstance(layer, BatchNorm):
        moments = reference.moments(x)
    gamma, beta = (p.get(name, value * np.ones(x.shape[1])) for name, value in (("weight", 1), ("bias", 0)))
    return reference.batch_norm(x, *moments, gamma, beta, getattr(layer, "epsilon", 0))


def run_random(run_training):
    """Adapt run(layer, input, (key, stream)) of a layer that is random in training, and absent in prediction."""

    def run(layer, x, p, draws):
        if draws is None:
            return x
        draws.append(layer)
        return run_training(layer, x, (0, len(draws) - 1))

    return run


def run_dropout(layer, x, draw):
    return x * reference.dropout_mask(*draw, len(x), x[0].size, layer.rate).reshape(x.shape)


def run_shift(layer, x, draw):
    tops, lefts = (range(-n, n + 1) for n in pair(layer.pixels))
    return reference.random_window(x, *draw, x.shape[2:], tops, lefts)


def run_crop(layer, x, p, draws):
    size, padding = pair(layer.size), pair(layer.padding)
    rests = [n_in - n_out for n_in, n_out in zip(x.shape[2:], size)]
    if draws is None:  # the window in the middle is the only choice
        starts, stream = [range(rest // 2, rest // 2 + 1) for rest in rests], 0
    else:
        starts = [range(-n, rest + n + 1) for rest, n in zip(rests, padding)]
        stream = len(draws)
        draws.append(layer)
    return reference.random_window(x, 0, stream, size, *starts, layer.padding_mode)


def run_erasing(layer, x, draw):
    mask = reference.erasing_mask(*draw, len(x), x.shape[2:], layer.size, 0.3, layer.probability)
    return x * mask[:, None]


def run_noise(layer, x, draw):
    return x + layer.stddev * reference.gaussian_noise(*draw, len(x), x[0].size).reshape(x.shape)


def run_branches(layer, x, p, draws):
    outputs = []
    for chain in layer.list_branches(x.shape[1:]):
        y = x
        for key, inner, _ in chain:
            y = run_reference(inner, y, strip(p, key), draws)
        outputs.append(y)
    return reference.merge(outputs, layer._merge)


def as_images(run, kind):
    """Adapt the reference implementation of a layer of images to a layer of signals, images of one row."""

    def run_signals(layer, x, p, draws):
        fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
        size = fields.get("pool_size") or (fields["kernel_size"] - 1) * fields.get("dilation", 1) + 1
        if fields["padding"] == "causal":
            fields["padding"] = (size - 1, 0)
        if isinstance(fields["padding"], tuple):
            fields["padding"] = ((0, 0), fields["padding"])
        elif isinstance(fields["padding"], int):
            fields["padding"] = (0, fields["padding"])
        for name in {"kernel_size", "pool_size", "stride", "dilation"} & set(fields):
            fields[name] = fields[name] and (1, fields[name])
        # insert the axis of rows before the length of the output, and before that of the kernel
        wide = {name: a[:, None] if a.ndim in (2, 4) else a for name, a in p.items()}
        wide = {name: a[..., None, :] if name == "weight" else a for name, a in wide.items()}
        return run(kind(**fields), x, wide, draws)

    return run_signals


# layer: its reference implementation, a function of layer, input, parameters, and draws, a list of the random
# layers so far, or None in prediction
REFERENCES = {
    Conv1D: as_images(run_conv2d, Conv2D),
    Conv2D: run_conv2d,
    Conv2DTranspose: run_transposed_conv2d,
    LocallyConnected1D: as_images(run_local_conv2d, LocallyConnected2D),
    LocallyConnected2D: run_local_conv2d,
    Dense: run_dense,
    MaxPool1D: as_images(run_pool2d(reference.max_pool2d), MaxPool2D),
    MaxPool2D: run_pool2d(reference.max_pool2d),
    AvgPool1D: as_images(run_pool2d(reference.avg_pool2d), AvgPool2D),
    AvgPool2D: run_pool2d(reference.avg_pool2d),
    GlobalMaxPool1D: lambda layer, x, p, draws: x.max(axis=(2, 3)),
    GlobalAvgPool1D: lambda layer, x, p, draws: x.mean(axis=(2, 3)),
    GlobalMaxPool2D: lambda layer, x, p, draws: x.max(axis=(2, 3)),
    GlobalAvgPool2D: lambda layer, x, p, draws: x.mean(axis=(2, 3)),
    BatchNorm: run_batch_norm,
    Standardize: run_batch_norm,
    LayerNorm: lambda layer, x, p, draws: reference.layer_norm(
        x, p.get("weight", 1), p.get("bias", 0), layer.epsilon
    ),
    Dropout: run_random(run_dropout),
    RandomFlip: run_random(
        lambda layer, x, draw: reference.random_flip(x, *draw, layer.horizontal, layer.vertical)
    ),
    RandomShift: run_random(run_shift),
    RandomCrop: run_crop,
    RandomRotation: run_random(lambda layer, x, draw: reference.random_rotation(x, *draw, layer.degrees)),
    RandomErasing: run_random(run_erasing),
    GaussianNoise: run_random(run_noise),
    Flatten: lambda layer, x, p, draws: x.reshape(len(x), -1),
    Identity: lambda layer, x, p, draws: x,
    Mixup: lambda layer, x, p, draws: x,  # the trainer mixes
    Rescaling: lambda layer, x, p, draws: reference.rescale(x, layer.scale, layer.offset),
    Parallel: run_branches,
    Residual: run_branches,
    ZeroPad2D: lambda layer, x, p, draws: reference.zero_pad2d(
        x, pad_image(x.shape[1:], (1, 1), (1, 1), layer.padding)
    ),
    UpSample2D: lambda layer, x, p, draws: reference.upsample2d(x, pair(layer.size), layer.interpolation),
    PReLU: lambda layer, x, p, draws: reference.prelu(x, p["weight"]),
    Function: lambda layer, x, p, draws: layer.function(x),
    ReLU: lambda layer, x, p, draws: reference.leaky_relu(x, 0),
    LeakyReLU: lambda layer, x, p, draws: reference.leaky_relu(x, layer.slope),
    ELU: lambda layer, x, p, draws: reference.elu(x, layer.alpha),
    GELU: lambda layer, x, p, draws: reference.gelu(x),
    ReLU6: lambda layer, x, p, draws: reference.relu6(x),
    SELU: lambda layer, x, p, draws: reference.selu(x),
    SiLU: lambda layer, x, p, draws: reference.silu(x),
    Mish: lambda layer, x, p, draws: reference.mish(x),
    Hardswish: lambda layer, x, p, draws: reference.hardswish(x),
    Softsign: lambda layer, x, p, draws: reference.softsign(x),
    Sigmoid: lambda layer, x, p, draws: reference.sigmoid(x),
    Tanh: lambda layer, x, p, draws: reference.tanh(x),
    Softplus: lambda layer, x, p, draws: reference.softplus(x),
    Arctan: lambda layer, x, p, draws: reference.arctan(x),
    Softmax: lambda layer, x, p, draws: reference.softmax(x),
    LogSoftmax: lambda layer, x, p, draws: reference.log_softmax(x),
}


def strip(named, key):
    """Return the entries of a layer, by its own names."""
    return {name.removeprefix(key + "."): a for name, a in named.items() if name.startswith(key + ".")}


def run_reference(layer, x, p, draws):
    """Return the outputs of the layer's reference implementation."""
    return REFERENCES[type(layer)](layer, x, p, draws)


def run_references(network, params, X, training, n_stages=None):
    """Return the outputs of the network, or of its first stages, by the reference implementations."""
    named, draws = network.split(params.astype(np.float64)), [] if training else None
    y = X.astype(np.float64)
    for stage in network.stages[:n_stages]:
        y = run_reference(stage.layer, y, strip(named, stage.key), draws)
    return y


def make(layer, shape, dtype, n, *following):
    """Return a network of the layer, a generator, images, and gradients of its outputs."""
    network = build(shape, [layer, *following], 3 if isinstance(layer, Output) else None, dtype)
    rng = np.random.RandomState(1)
    X = rng.standard_normal((n, *shape)).astype(dtype)
    return network, rng, X, rng.standard_normal((n, *network.output_shape)).astype(dtype)


def test_no_layer_is_forgotten():
    classes = {c for c in map(vars(all_layers).get, all_layers.__all__) if issubclass(c, Layer)}
    # the function of an Augment has no repr that evaluates
    assert {type(layer) for layer, _ in ROWS} == classes - {Layer, Augment}
    assert len(ROWS) >= 200 and len(set(ROWS)) == len(ROWS)


@each_row
def test_values(layer, shape):
    check_value(layer, Square=Square, Line=Line)
    estimator = ConvNetClassifier([layer])
    assert clone(estimator).layers == [layer]


@each_row
def test_shape_and_outputs_equal_the_reference(isa, dtype, layer, shape):
    network, _, X, _ = make(layer, shape, dtype, 19)
    y, expected = network.forward(X), run_references(network, network.params, X, False)
    assert expected.shape[1:] == network.output_shape
    assert y.dtype == dtype
    np.testing.assert_allclose(
        y.reshape(expected.shape), expected, rtol=0, atol=100 * np.finfo(dtype).eps * np.abs(expected).max()
    )


@each_row
def test_outputs_in_training_equal_the_reference(isa, layer, shape):
    # the gradient of the weight of a dense layer after it shows them
    layer = layer.resolve(3) if isinstance(layer, Output) else layer
    network, _, X, dy = make(layer, shape, np.float64, 19, Dense(1, bias=False, name="last"))
    _, dparams = network.backward(X, dy, n_threads=2)
    y = run_references(network, network.params, X, True, n_stages=-1).reshape(19, -1)
    shown = network.split(dparams)["last.weight"]
    np.testing.assert_allclose(shown, dy.T @ y, rtol=0, atol=1e-13 * (np.abs(dy).T @ np.abs(y)).max())


@each_row
def test_gradients_equal_central_differences(isa, layer, shape):
    network, rng, X, dy = make(layer, shape, np.float64, 19)
    gradients = network.backward(X, dy, n_threads=2)
    check_gradients(
        network, rng, X, *gradients, lambda params, X: (run_references(network, params, X, True) * dy).sum()
    )


@each_row
def test_results_do_not_depend_on_threads_or_batch(isa, dtype, layer, shape):
    network, rng, X, dy = make(layer, shape, dtype, 37)
    check_batch_invariance(rng, X, network.forward, lambda n_threads: network.backward(X, dy, n_threads))


@each_row
def test_inputs_are_unchanged_and_may_be_any_view(dtype, layer, shape):
    network, _, X, dy = make(layer, shape, dtype, 19)
    expected = network.forward(X), network.forward(X[:1]), *network.backward(X, dy)
    for view_as in (
        np.asfortranarray,
        lambda a: np.ascontiguousarray(a[:, :, ::-1])[:, :, ::-1] if a.ndim == 4 else a[::-1].copy()[::-1],
        lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    ):
        views = view_as(X), view_as(dy)
        for view in views:
            view.flags.writeable = False
        results = network.forward(views[0]), network.forward(views[0][:1]), *network.backward(*views)
        for result, right in zip(results, expected):
            np.testing.assert_array_equal(result, right)
        for view, right in zip(views, (X, dy)):
            np.testing.assert_array_equal(view, right)


@each_row
def test_results_do_not_depend_on_earlier_images(dtype, layer, shape):
    network, _, X, dy = make(layer, shape, dtype, 19)
    expected = network.forward(X), *network.backward(X, dy)
    rows = np.arange(19)
    predicting, training = network.compile(), network.compile(training=True, input_gradient=True)
    arenas = network.make_workspace(predicting, 1), network.make_workspace(training, 1, 19)
    others = [(-3 * X, 5 * dy), (np.full_like(X, np.nan), np.full_like(dy, np.nan)), (-7 * X, 3 * dy)]
    for images, gradients in (*others, (X, dy)):
        y, dx, dparams = (np.full(a.shape, np.nan, dtype) for a in expected)
        predicting.forward(network.wrap(images), rows, network.params, y, arenas[0])
        gradients = network._wrap(gradients, network.output_shape, "dy")
        dx = dx.reshape(19, -1)
        training.backward(network.wrap(images), gradients, rows, network.params, dx, dparams, arenas[1])
    for result, right in zip((y, dx, dparams), expected):
        np.testing.assert_array_equal(result, right.reshape(result.shape))
