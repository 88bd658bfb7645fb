"""Phases, bands and tables of tiles, against what they stand for, one position at a time."""

from itertools import product

import numpy as np
import pytest

from skconvnet import kernels
from skconvnet._lowering.memory import Buffer, ProgramTables
from skconvnet._lowering.tiling import (
    WeightStrides,
    backward_phases,
    connectivity_fields,
    count_side_columns,
    cut_into_bands,
    divide_evenly,
    forward_phases,
    output_tile_fields,
    weight_tile_fields,
)

# n_in, kernel, stride, dilation, before, after
AXES = [
    axis
    for axis in product((1, 2, 5, 9, 16), (1, 2, 3, 5), (1, 2, 3), (1, 2), (0, 1, 3), (0, 2))
    if axis[0] + axis[4] + axis[5] > (axis[1] - 1) * axis[3]
]


def count_outputs(n_in, kernel, stride, dilation, before, after):
    return (n_in + before + after - (kernel - 1) * dilation - 1) // stride + 1


def list_links(phases, n_source, flip):
    """Every (output, kernel index, input) that phases link; flip: they go over inputs and read outputs."""
    links = set()
    for phase in phases:
        for m in range(phase.count):
            low, high = phase.find_taps(m, n_source)
            for q, (k, tap) in enumerate(phase.taps):
                source, target = m * phase.in_step + tap, phase.first + m * phase.out_step
                if 0 <= source < n_source:
                    assert low <= q < high
                    link = (source, k, target) if flip else (target, k, source)
                    assert link not in links
                    links.add(link)
    return links


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_phases_and_bands_link_what_a_convolution_links(axis):
    n_in, kernel, stride, dilation, before, _ = axis
    n_out = count_outputs(*axis)
    expected = {
        (i, k, i * stride + k * dilation - before)
        for i, k in product(range(n_out), range(kernel))
        if 0 <= i * stride + k * dilation - before < n_in
    }
    forward = forward_phases(n_out, kernel, stride, dilation, before)
    backward = backward_phases(n_in, kernel, stride, dilation, before)
    assert list_links(forward, n_in, flip=False) == list_links(backward, n_out, flip=True) == expected
    for phases, n_source, flip in ((forward, n_in, False), (backward, n_out, True)):
        bands = [band for phase in phases for band in cut_into_bands(phase, n_source)]
        assert list_links(bands, n_source, flip) == expected
        assert sum(band.count for band in bands) == (n_in if flip else n_out)
        left, right = count_side_columns(bands, n_source)
        for band in bands:
            for m, (_, tap) in product(range(band.count), band.taps):
                assert -left <= m * band.in_step + tap < n_source + right


@pytest.mark.parametrize("axis", AXES[::7], ids=str)
def test_positions_of_a_tap(axis):
    (phase,) = forward_phases(count_outputs(*axis), *axis[1:5])
    for _, tap in phase.taps:
        first, count = phase.find_positions(tap, axis[0])
        inside = [m for m in range(phase.count) if 0 <= m * phase.in_step + tap < axis[0]]
        assert list(range(first, first + count)) == inside


def test_parts_are_even_and_few():
    for total, most in product(range(1, 60), range(1, 20)):
        part = divide_evenly(total, most)
        assert part <= most and -(-total // part) == -(-total // most)
        assert part == 1 or -(-total // (part - 1)) > -(-total // most)


def make_program():
    return ProgramTables(kernels.get_engine("float32"))


def test_outputs_list_the_channels_that_any_of_them_reads():
    program, connectivity = make_program(), np.array([[1, 0, 1], [0, 0, 1], [0, 1, 0]], bool)
    fields = connectivity_fields(program, connectivity, 2)
    tables = program.join()
    for k, expected in enumerate(([0, 2], [1])):
        first, count = tables[fields["sources"] + 2 * k :][:2]
        assert tables[fields["channels"] + first :][:count].tolist() == expected


def test_output_tiles_write_every_output_once():
    program, x, y = make_program(), Buffer((3, 7, 9), 1, 1, 0), Buffer((5, 7, 9), 0, 2, 300)
    rows, columns = (forward_phases(n, 3, 1, 1, 1) for n in (7, 9))
    bands = cut_into_bands(columns[0], 9)
    fields = output_tile_fields(program, rows, bands, x, y, WeightStrides(3, 9, 27), np.ones((5, 3), bool))
    tables, written = program.join(), np.zeros(y.plane, int)
    for n in range(fields["n_passes"]):
        first, n_rows, n_columns, offset, y_step, _ = tables[fields["passes"] + 6 * n :][:6]
        for r in range(first, first + n_rows):
            start = offset + tables[fields["rows"] + 4 * r]
            written[start : start + n_columns * y_step : y_step] += 1
    np.testing.assert_array_equal(written.reshape(7, 11), np.pad(np.ones((7, 9), int), ((0, 0), (0, 2))))


@pytest.mark.parametrize(("channels", "filters", "kernel"), [(1, 1, 1), (3, 6, 5), (20, 9, 3)], ids=str)
def test_weight_tiles_hold_every_weight_once(channels, filters, kernel):
    program, n = make_program(), 12
    (rows,), (columns,) = (forward_phases(n, kernel, 1, 1, kernel // 2) for _ in range(2))
    x, dy = Buffer((channels, n, n), 2, 2, 0), Buffer((filters, n, n), 0, 0, 9000)
    connectivity = np.ones((filters, channels), bool)
    strides = WeightStrides(kernel, kernel * kernel, channels * kernel * kernel)
    fields = weight_tile_fields(program, rows, columns, (kernel, kernel), x, dy, strides, connectivity)
    assert (fields["w_out"], fields["w_row"]) == (strides.output, strides.row)
    tables, engine = program.join(), program.engine
    held = np.zeros((filters, channels * kernel * kernel), int)
    for k in range(fields["n_tiles"]):
        first_filter, first_row, first, count, _, _ = tables[fields["tiles"] + 6 * k :][:6]
        for q in range(first, first + count):
            weight = tables[fields["weights"] + 3 * q + 1]
            for u in range(first_row, min(first_row + engine.kernel_rows, kernel)):
                held[first_filter : first_filter + engine.tile_height, weight + u * kernel] += 1
    assert (held == 1).all()
