"""Which convolutions use Winograd's algorithm, and on which axes."""

import numpy as np
import pytest

from skconvnet._lowering.calls import Window
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.winograd import WinogradPlan
from skconvnet.kernels import get_engine


def make_plan(channels, size, filters, kernel, padding=None, nests=True):
    """Return the plan of a convolution; padding None keeps the size of the image."""
    padding = padding or tuple((k // 2, k // 2) for k in kernel)
    out = (n + sum(sides) - k + 1 for n, sides, k in zip(size, padding, kernel))
    source, target = Tensor((channels, *size), True), Tensor((filters, *out), True)
    return WinogradPlan(Window(kernel, (1, 1), padding), source, target, flip=False, nests=nests)


@pytest.mark.parametrize(
    ("channels", "size", "kernel", "nested"),
    [
        (64, (8, 8), (3, 3), True),
        (64, (32, 31), (3, 3), True),
        (32, (16, 16), (5, 5), True),
        (64, (7, 7), (3, 3), False),  # seven columns take the points of eight
        (512, (4, 4), (3, 3), False),
        (16, (32, 32), (3, 3), False),  # transforms cost more than the multiplications that they save
        (64, (16, 16), (3, 5), False),
        (64, (16, 16), (3, 1), False),
    ],
)
def test_both_axes_are_transformed_where_that_pays(channels, size, kernel, nested):
    plan = make_plan(channels, size, channels, kernel)
    assert plan.pays() and plan.nested == nested
    assert not make_plan(channels, size, channels, kernel, nests=False).nested
    n_points, n_across, n_taps = (kernel[1] + 1, 2, 1) if nested else (1, 1, kernel[1])
    assert (plan.n_terms, plan.n_taps) == (6 * n_points, n_taps)
    assert plan.length == -(-size[1] // n_across)


@pytest.mark.parametrize("kernel", [3, 5])
def test_columns_that_nested_positions_read(kernel):
    # the last of 15 columns is one of a pair, and its position reads kernel + 1 of them
    plan = make_plan(64, (20, 15), 64, (kernel, kernel))
    assert plan.nested and plan.length == 8
    left, right = plan.count_side_columns()
    assert left == kernel // 2
    assert 2 * 7 - left + kernel == 15 - 1 + right


def test_an_output_with_few_taps_inside_is_not_nested():
    assert make_plan(64, (20, 20), 64, (3, 3), ((1, 1), (1, 1))).nested
    assert not make_plan(64, (20, 20), 64, (3, 3), ((1, 1), (2, 1))).nested


@pytest.mark.parametrize("pixels", [False, True])
def test_scratch_is_large_enough_for_all(pixels):
    engine = get_engine(np.float32)
    plan = make_plan(300, (8, 40), 300, (3, 3))
    layout, end = plan._lay_out(engine, pixels)
    assert plan.nested and plan.count_scratch(engine, pixels) == end
    offsets = [*(layout[name] for name in ("scratch", "scratch_sums", "zeros", "terms_along")), end]
    assert sorted(set(offsets)) == offsets
    assert 0 < layout["some_channels"] < 300 and 0 < layout["some_targets"] < 300
