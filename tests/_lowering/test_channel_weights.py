"""The plan of the gradient to a convolution's weight with input channels as lanes."""

import numpy as np
import pytest

from skconvnet import kernels
from skconvnet._lowering.channel_weights import channel_weight_fields, group_channels, pays
from skconvnet._lowering.memory import Buffer, ProgramTables
from skconvnet._lowering.tiling import forward_phases


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "before"),
    [(1, 1, 1, 0), (3, 1, 1, 1), (3, 2, 1, 1), (2, 1, 3, 2)],
    ids=str,
)
def test_taps_read_what_the_convolution_reads(kernel, stride, dilation, before):
    size, span = 7, (kernel - 1) * dilation + 1
    n_out = (size + 2 * before - span) // stride + 1
    (rows,), (columns,) = (forward_phases(n_out, kernel, stride, dilation, before) for _ in range(2))
    x = Buffer((40, size, size), before, before, 0)
    program = ProgramTables(kernels.get_engine(np.float32))
    fields = channel_weight_fields(program, rows, columns, x, (9, n_out, n_out))
    taps = program.join()[fields["taps"] :][: 5 * kernel**2].reshape(-1, 5)
    for n, (first_i, n_i, first_j, n_j, source) in enumerate(taps):
        u, v = divmod(n, kernel)
        read = [
            (i, j)
            for i in range(n_out)
            for j in range(n_out)
            if 0 <= i * stride + u * dilation - before < size
            and 0 <= j * stride + v * dilation - before < size
        ]
        assert read == [(first_i + i, first_j + j) for i in range(n_i) for j in range(n_j)]
        for i in range(n_i):
            for j in range(n_j):
                row = (first_i + i) * stride + u * dilation - before
                column = (first_j + j) * stride + v * dilation - before
                position = row * x.row + x.left + column
                assert source + i * fields["x_row"] + j * fields["x_step"] == position


def test_groups_hold_all_channels():
    engine = kernels.get_engine(np.float32)
    for channels in range(1, 400):
        n_groups, width = group_channels(channels, engine)
        assert width <= engine.channel_tile_width
        assert n_groups * width * engine.lanes >= channels > (n_groups - 1) * engine.lanes


def test_it_pays_for_few_pixels_and_full_lanes():
    engine = kernels.get_engine(np.float32)
    assert pays(2 * engine.lanes, (7, 7), engine)
    assert not pays(2 * engine.lanes, (70, 70), engine)
    assert not pays(engine.lanes, (7, 7), engine)
    assert not pays(engine.lanes + 1, (7, 7), engine)
