"""Plans: memory that does not overlap, calls that share work, and what blocks keep."""

import itertools

import numpy as np
import pytest

from skconvnet import architectures, kernels
from skconvnet._lowering.calls import ActivationCall
from skconvnet._lowering.conv import ConvCall, DenseCall
from skconvnet._lowering.memory import Buffer, FlatBuffer, ProgramTables, Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._lowering.pool import PoolCall
from skconvnet._network import Network
from skconvnet.layers import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    GlobalAvgPool2D,
    MaxPool2D,
    Parallel,
    ReLU,
    Residual,
    Tanh,
)


def lower(layers, shape=(2, 8, 8), training=True):
    return Network(layers, shape)._lower(training=training)


def test_buffers_have_columns_of_zeros_at_their_sides():
    buffer = Buffer((2, 3, 4))
    assert buffer.fields() == {"offset": -1, "plane": 12, "row": 4}
    buffer.need(1, 0)
    buffer.need(0, 2)
    assert buffer.allocate(100) == 100 + 2 * 3 * 7
    assert buffer.fields() == {"offset": 101, "plane": 21, "row": 7}


def test_a_flat_tensor_shares_memory_unless_its_gradient_has_padding():
    tensor = Tensor((2, 3, 4), needs_gradient=True)
    flat = tensor.flatten()
    assert flat.shape == (24, 1, 1) and flat.value.memory is tensor.value
    assert isinstance(flat.gradient, FlatBuffer) and flat.gradient.memory is tensor.gradient
    tensor.gradient.need(1, 1)
    assert tensor.flatten().gradient.memory is not tensor.gradient
    tensor.value.need(1, 0)
    with pytest.raises(AssertionError, match="columns of padding"):
        flat.value.fields()


def test_tables_follow_each_other():
    program = ProgramTables(kernels.get_engine("float32"))
    assert [program.add(np.arange(n)) for n in (3, 0, 4)] == [0, 3, 3]
    np.testing.assert_array_equal(program.join(), [0, 1, 2, 0, 1, 2, 3, 0])
    assert [program.add_winograd_plan({}, n) for n in (5, 7)] == [0, 1]
    assert [plan["transformed_weights"] for plan in program.winograd_plans] == [0, 5]
    assert program.n_transformed_weights == 12


def test_activations_are_part_of_the_call_before_where_they_can_be():
    plan, _, names = lower([Conv2D(3), ReLU(), Tanh(), Dense(2), Tanh()])
    assert names == ["0 conv", "2 activation", "3 dense"]
    assert [call.activation for call in plan.calls] == [("relu", 0.0), None, ("tanh", 0.0)]
    assert [type(call) for call in plan.calls] == [ConvCall, ActivationCall, DenseCall]


def test_a_maximum_pooling_goes_backward_with_the_convolution_before_it():
    layers = [Conv2D(3), MaxPool2D(), MaxPool2D(), Conv2D(3, 2), AvgPool2D()]
    plan, _, names = lower(layers, (2, 16, 16))
    assert names == ["0 pooled_conv", "1 max_pool_of_conv", "2 max_pool", "3 conv", "4 avg_pool"]
    assert isinstance(plan.calls[1], PoolCall)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", sorted(architectures.INPUT_SHAPES))
def test_values_and_gradients_do_not_overlap(name, training):
    """Those that share memory share all of it, as an activation's gradients do."""
    network = Network(getattr(architectures, name)(), architectures.INPUT_SHAPES[name], 10)
    plan, output, _ = network._lower(training=training)
    program = plan.compile(kernels.get_engine("float32"), output, 1)
    buffers = {id(b.memory): b.memory for t in plan._tensors for b in (t.value, t.gradient)}
    spans = sorted((b.offset, b.offset + b.size) for b in buffers.values() if b.offset >= 0)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    sizes = program.sizes
    assert spans[-1][1] <= sizes["training_vectors"] and sizes["n_params"] == 1
    assert sizes["prediction_vectors"] <= sizes["training_vectors"]


def test_blocks_keep_values_only_where_they_synchronize():
    def measure(layers):
        network = Network(layers, (2, 8, 8), 3)
        return network.compile(training=True).sizes

    assert measure([Conv2D(4), ReLU()])["persistent_vectors"] == 0
    sizes = measure([Conv2D(4), BatchNorm(), ReLU()])
    assert 0 < sizes["persistent_vectors"] < sizes["training_vectors"] and sizes["n_moments"] == 4 * 4


def test_streams_of_random_numbers_are_counted():
    plan = Plan((4,), input_gradient=False, training=True)
    assert [plan.allocate_stream() for _ in range(3)] == [0, 1, 2]
    assert [plan.allocate_moments(n) for n in (8, 4)] == [0, 8]
    calls = [call for call in lower([Dropout(), Dense(3), Dropout()])[0].calls if call.name == "dropout"]
    assert [call.stream for call in calls] == [0, 1]


def test_a_residual_connection_splits_and_adds():
    _, _, names = lower([Residual([Conv2D(2, padding="same"), ReLU()]), ReLU()])
    assert names == ["0 split", "0 conv", "0 merge"]


def test_all_branches_but_one_split():
    def find_calls(branches, merge="concat"):
        return [name.removeprefix("0 ") for name in lower([Parallel(branches, merge)])[2]]

    convs = [[Conv2D(2, 1)], [Conv2D(2, 1)]]
    assert find_calls(convs) == ["split", "conv", "conv", "rescale", "rescale"]
    # the input itself, where a branch has no layers
    assert find_calls([[], *convs], "max") == ["split", "conv", "split", "conv", "merge", "merge"]
    assert find_calls([[], []], "average") == ["split", "merge", "rescale"]
    assert find_calls(convs[:1], "multiply") == ["conv"]


def test_normalisation_is_part_of_the_call_before_in_prediction():
    layers = [Conv2D(3), BatchNorm(), ReLU(), MaxPool2D(), BatchNorm(), Dense(4), BatchNorm(), Tanh()]
    _, _, names = lower(layers, training=False)
    assert [name.split()[1] for name in names if "flatten" not in name] == [
        *("pooled_conv", "max_pool_of_conv", "normalize", "dense")
    ]
    assert sum("normalize" in name for name in lower(layers)[2]) == 3
    # not after an activation, nor twice, nor for an input of branches
    for between in (Tanh(), BatchNorm()):
        plan, _, _ = lower([Conv2D(3), between, BatchNorm()], training=False)
        assert [call.name for call in plan.calls] == ["conv", "normalize"]
    plan, _, _ = lower([Conv2D(3), Parallel([[BatchNorm()], [BatchNorm()]])], training=False)
    assert [call.name for call in plan.calls if call.name == "normalize"] == 2 * ["normalize"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_folded_normalisation_has_the_values_of_a_call(monkeypatch, dtype, bias):
    """By plain sums, Winograd's algorithm along one axis and both, in groups, and in dense layers."""
    options = {"padding": "same", "bias": bias}
    layers = [
        *(Conv2D(6, 5, bias=bias), BatchNorm(), Tanh()),
        *(Conv2D(24, 3, **options), BatchNorm(scale=False), ReLU()),
        *(Conv2D(32, 3, **options), BatchNorm(), Conv2D(32, 3, groups=4, **options), BatchNorm(center=False)),
        *(AvgPool2D(), Dense(9, bias=bias), BatchNorm()),
    ]
    rng = np.random.RandomState(0)
    network = Network(layers, (2, 16, 16), 3, dtype)
    network.initialize(rng)
    network.params[:] += (0.05 * rng.rand(len(network.params))).astype(dtype)
    X = rng.standard_normal((19, 2, 16, 16)).astype(dtype)
    folded = network.forward(X, 2)
    for k in range(3):
        np.testing.assert_array_equal(network.forward(X[k : k + 1], 1)[0], folded[k])
    monkeypatch.setattr(Plan, "fold", lambda *_: False)
    apart = Network(layers, (2, 16, 16), 3, dtype)
    apart.params = network.params
    expected = apart.forward(X, 2)
    np.testing.assert_allclose(folded, expected, rtol=0, atol=1e3 * np.finfo(dtype).eps * abs(expected).max())
    assert (folded != expected).any()


def test_branches_read_one_tensor():
    plan, _, _ = lower([Conv2D(3), Parallel([[Conv2D(2)], [Conv2D(2, 3)]])])
    split = next(call for call in plan.calls if call.name == "split")
    assert split.x.value is split.y.value and split.x.gradient is not split.y.gradient
    # a vector shares memory with its image, so it needs a copy where a convolution pads the image
    plan, _, _ = lower([Conv2D(3), Parallel([[Conv2D(2, padding="same"), Dense(2)], [Dense(2)]])])
    assert [call.name for call in plan.calls].count("rescale") == 3  # two of them concatenate


@pytest.mark.parametrize("shape", [(16, 2**28, 2**28), (2**20, 2**22, 2**22), (2**36, 2**14, 2**14)])
def test_sizes_beyond_64_bits_are_refused(shape):
    """Their products wrap around in numbers of 64 bits, to 0 in the second and third case."""
    network = Network([GlobalAvgPool2D()], shape)
    for make in (network.compile, network.compile_single_image):
        with pytest.raises(ValueError, match=r"need [\d.]+e\+\d\d vectors of memory"):
            make()
