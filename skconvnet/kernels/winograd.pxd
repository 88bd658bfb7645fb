"""Winograd's convolution: Winograd 1980; Lavin and Gray 2016, section 4.

For m neighbouring outputs along an axis and r weights, m + r = 7, six multiplications suffice instead of
m r: F(4, 3) needs half of them, F(2, 5) six tenths.

    y = A [(G w) * (B x)]           terms k = 0 .. 5, each summed over channels and the taps across the axis

The axis runs down the image, so that a line of outputs is m of its rows; or, if the kernel has one row,
along the rows, so that a line is a row of the image and a position in it stands for m outputs.

A nested convolution transforms the axis across as well, for 2 outputs there:

    y = A [(G w G2') * (B x B2')] A2'       terms (k, p), each summed over channels

F(4, 3) by F(2, 3) needs a third of the multiplications, F(2, 5) by F(2, 5) 36 hundredths.  The axis runs down
the image then, and a position of a line stands for m rows of 2 columns.

For some positions of a line and some channels at a time, B x goes to scratch; there, the output tiles of a
convolution with r = 1 make the sums of the terms; then A turns sums into outputs.  Sums and outputs are
computed in the same order wherever they lie, so that a prediction depends on its sample alone.

The gradient to the weight, which is never nested, is

    dw = G' [sum of (A' dy) * (B x)]        primes: transposed; summed over lanes and positions

B x is transposed, so that its lanes are input channels: then no sum runs over the lanes of a vector, however
few the positions are.
"""

from libc.string cimport memset

from skconvnet.kernels.activation cimport activate_row
from skconvnet.kernels.block cimport (
    accumulate_at, block_t, buffer_t, count_parts, find_units, is_shared, locate, locate_offset
)
from skconvnet.kernels.channel_weights cimport find_group, store_transposed
from skconvnet.kernels.output_tiles cimport bind, compute_output_tiles, operands_t, output_tiles_t
from skconvnet.kernels.simd cimport (
    CHANNEL_TILE_HEIGHT, LANES, MAX_LANES, inlined_t, join_halves, lanes_t, load_even, load_lanes,
    load_strided, prefetch, real_t, splat, store_some, zip_lanes
)
from skconvnet.kernels.team cimport cut, range_t
from skconvnet.kernels.tile cimport channel_tile_t, choose_height, compute


cdef extern from "winograd.h" nogil:
    enum: N_POINTS
    lanes_t transform_point(const lanes_t* points, int k)
    lanes_t transform_sums(const lanes_t* sums, Py_ssize_t stride, int s, int m)
    lanes_t transform_gradient(const lanes_t* gradients, int k, int m)
    real_t weight_factor(int k, int v, int r)
    lanes_t transform_point_across(const lanes_t* points, int k, int n)
    lanes_t transform_sums_across(const lanes_t* sums, Py_ssize_t stride, int s, int n)
    void list_factors_across(int r, real_t* factors)


cdef enum:
    MAX_OUTPUTS = 4         # m, at most
    MAX_BAND = 12           # vectors of a band, at most
    BAND_FIELDS = 5         # table entries for a band
    N_ACROSS = 2            # outputs across the axis of a position, if nested


# The plan of one convolution, or of the gradient to its input.  The positions of a line come in bands; in the
# tables:
#   a band   (first vector, number of vectors, offset in the source of its first one in elements, number of
#            source vectors, number of vectors of a term of B x)
ctypedef struct winograd_t:
    bint down                           # the axis runs down the image
    Py_ssize_t grain                    # elements from pixel to pixel: LANES, or 1 if lanes are pixels
    Py_ssize_t n_outputs, n_weights     # m and r
    Py_ssize_t before                   # points from the first output's first tap to the source's first pixel
    Py_ssize_t x_size, y_size           # pixels along the axis, in the source and in the target
    bint nested
    Py_ssize_t n_points_across          # points across the axis: 1 if not nested
    Py_ssize_t n_terms                  # 6 times that number
    Py_ssize_t lines_at_once            # 2: lanes are the positions of two lines, each in half of a vector
    Py_ssize_t lines, length            # lines, or pairs of lines; positions in a line
    Py_ssize_t width                    # pixels of the target across the axis
    Py_ssize_t channels, targets        # input and output channels
    Py_ssize_t w_width                  # weights across the axis
    Py_ssize_t n_taps                   # those of a term: 1 if nested
    Py_ssize_t weight                   # offset in the parameter vector
    # there: from input to input and from output to output channel, along and across the axis
    Py_ssize_t w_in, w_out, w_along, w_across
    bint flip                           # the kernel runs backwards
    # offset of G w (targets, terms, channels, n_taps), of which a target takes w_target; < 0: not used
    Py_ssize_t transformed_weights, w_target
    Py_ssize_t n_bands, bands
    Py_ssize_t some_channels, some_targets      # that are in scratch at a time
    Py_ssize_t n_units                  # that threads share: lines x bands x heights of output tiles
    # offsets of memory for B x of these channels, the sums of these outputs, n_zeros vectors of zeros, and a
    # channel's terms along the axis, if nested
    Py_ssize_t scratch, scratch_sums, zeros, n_zeros, terms_along
    # of some_channels and some_targets: a pass is a band, and each has another pass for the last channels
    output_tiles_t output_tiles


# How a line lies in a buffer, in elements.
ctypedef struct line_t:
    Py_ssize_t line, point, vector      # from line to line, point to point of a position, vector to vector


# Some output channels of a band of a line.
ctypedef struct section_t:
    Py_ssize_t line
    const Py_ssize_t* band
    Py_ssize_t k_band                   # its index
    range_t targets


# Some positions of a line.
ctypedef struct stretch_t:
    Py_ssize_t line, first, n


# The gradient to the weight.  The input channels come in groups of `width` vectors, whose lanes they are.
ctypedef struct weight_sums_t:
    Py_ssize_t plan                     # index of the plan, which is not nested
    Py_ssize_t n_groups
    Py_ssize_t chunk                    # positions of a line at a time
    Py_ssize_t left, taps               # position of the source of the first output's first tap; those of all
    Py_ssize_t n_source, row            # positions of the source of a chunk, at most, and of a line
    Py_ssize_t width                    # of a group, at most
    # offsets of memory for B x of a group (6, n_source, LANES, width), A' dy of a chunk (6, targets, chunk),
    # and the sums (taps, tiles, 6, height, width); terms < 0: plain sums
    Py_ssize_t terms, gradients, sums
    # of memory for all of B x (groups, lines, 6, row, LANES, width), which the threads that share a block
    # transform together; < 0: every thread transforms it for itself
    Py_ssize_t shared_terms


# A chunk of B x, and whether it begins the sums.
ctypedef struct chunk_t:
    const lanes_t* terms                # (6, row, LANES, width), of which n_source
    Py_ssize_t row, n
    bint resume


cdef inline line_t find_lines(const winograd_t* g, const buffer_t* buffer) noexcept nogil:
    """Return how lines lie in a buffer."""
    cdef line_t steps
    cdef Py_ssize_t row = buffer.row * g.grain
    if g.down:
        steps.line, steps.point, steps.vector = g.n_outputs * row, row, LANES
    else:
        steps.line, steps.point, steps.vector = row, g.grain, g.n_outputs * LANES
    return steps


cdef inline const real_t* find_channel(
    const block_t* b, const buffer_t* buffer, Py_ssize_t c
) noexcept nogil:
    """Point at the first element of a channel."""
    return <const real_t*> (locate(b, buffer) + c * buffer.plane)


cdef inline bint has_point(const winograd_t* g, Py_ssize_t line, Py_ssize_t point) noexcept nogil:
    """Return whether a point of a line lies in the source; beside it, there are zeros."""
    return not g.down or 0 <= line * g.n_outputs + point - g.before < g.x_size


cdef inline Py_ssize_t count_outputs(const winograd_t* g, Py_ssize_t line, Py_ssize_t s) noexcept nogil:
    """Return for how many pixels across the axis, or positions along it, the target has output s of m."""
    if g.down:
        return g.width if line * g.n_outputs + s < g.y_size else 0
    return count_parts(g.y_size - s, g.n_outputs)


cdef inline void load_taps(
    const winograd_t* g, const real_t* w, Py_ssize_t c, int v, lanes_t* taps
) noexcept nogil:
    """Load the weights along the axis, in the order of the points, of LANES channels at most, from c on."""
    cdef const real_t* at
    cdef int u
    for u in range(g.n_weights):
        at = w + v * g.w_across + (g.n_weights - 1 - u if g.flip else u) * g.w_along + c * g.w_in
        taps[u] = load_strided(at, g.w_in, g.channels - c)


cdef inline inlined_t transform_filter(
    const winograd_t* g, const real_t* w, const int r, const bint nested, real_t* out
) noexcept nogil:
    """Write G w, or G w G2', of one output channel; r and nested are literals at the call."""
    cdef Py_ssize_t q, c, i, n, stride = g.channels * g.n_taps
    cdef real_t[30] factors
    cdef lanes_t[5] taps
    cdef lanes_t[N_POINTS * 5] along
    cdef lanes_t total
    cdef int k, p, u, v
    list_factors_across(r, factors)
    for q in range(count_parts(g.channels, LANES)):
        c = q * LANES
        n = min(LANES, g.channels - c)
        for v in range(g.w_width):
            load_taps(g, w, c, v, taps)
            for k in range(N_POINTS):
                total = splat(0)
                for u in range(r):
                    total = total + weight_factor(k, u, r) * taps[u]
                if nested:
                    along[k * r + (r - 1 - v if g.flip else v)] = total
                else:
                    for i in range(n):
                        out[k * stride + (c + i) * g.n_taps + v] = (<real_t*> &total)[i]
        if nested:
            for k in range(N_POINTS):
                for p in range(r + 1):
                    total = splat(0)
                    for v in range(r):
                        total = total + factors[p * r + v] * along[k * r + v]
                    store_some(out + (k * (r + 1) + p) * stride + c, total, n)


cdef inline void transform_weights(
    const winograd_t* g, const real_t* params, Py_ssize_t o, real_t* transformed_weights
) noexcept nogil:
    """Write G w, or G w G2', of one output channel, if it is used."""
    cdef const real_t* w = params + g.weight + o * g.w_out
    cdef real_t* out = transformed_weights + g.transformed_weights + o * g.w_target
    if g.transformed_weights < 0:
        return
    if g.n_weights == 3:
        if g.nested:
            transform_filter(g, w, 3, True, out)
        else:
            transform_filter(g, w, 3, False, out)
    elif g.nested:
        transform_filter(g, w, 5, True, out)
    else:
        transform_filter(g, w, 5, False, out)


cdef inline void clear_zeros(const winograd_t* g, const block_t* b) noexcept nogil:
    """Write the zeros that stand for points beside the image."""
    memset(locate_offset(b, g.zeros), 0, g.n_zeros * sizeof(lanes_t))


cdef inline void find_points(
    const winograd_t* g, const block_t* b, const real_t* source, Py_ssize_t line, Py_ssize_t step,
    const real_t** points
) noexcept nogil:
    """Point at the six points of a line's first position, `step` apart; beside the image, at zeros."""
    cdef int p
    for p in range(N_POINTS):
        if has_point(g, line, p):
            points[p] = source + (p - g.before) * step
        else:
            points[p] = <const real_t*> locate_offset(b, g.zeros)


cdef inline inlined_t transform_points(
    const winograd_t* g, const real_t** x, Py_ssize_t step, Py_ssize_t plane, Py_ssize_t n,
    Py_ssize_t n_values, lanes_t* out, Py_ssize_t stride
) noexcept nogil:
    """Write all terms along the axis of n vectors, `step` apart, and fetch those of the next channel.

    n_values: of these in all, if they lie m apart; 0, a literal, if they are neighbours.
    """
    cdef lanes_t[N_POINTS] points
    cdef Py_ssize_t i
    cdef int p
    for i in range(n):
        for p in range(N_POINTS):
            if n_values > 0:
                points[p] = load_strided(x[p] + i * step, g.n_outputs, n_values - i * LANES)
            else:
                points[p] = load_lanes(x[p] + i * step)
                prefetch(x[p] + i * step + plane)
        for p in range(N_POINTS):
            out[p * stride + i] = transform_point(points, p)


cdef inline lanes_t load_positions(
    const winograd_t* g, const lanes_t* terms, Py_ssize_t i, int p
) noexcept nogil:
    """Return point p across the axis of vector i of positions."""
    cdef const real_t* x = <const real_t*> terms
    if g.grain == LANES:
        return load_lanes(x + (N_ACROSS * i + p) * LANES)
    return load_even(x + N_ACROSS * i * LANES + p)


cdef inline inlined_t transform_across(
    const winograd_t* g, const lanes_t* terms, Py_ssize_t row, const int n_points, Py_ssize_t n,
    lanes_t* out, Py_ssize_t stride
) noexcept nogil:
    """Write all terms of n vectors of positions from those along the axis: terms (1 or 2 lines, 6, row)."""
    cdef lanes_t[N_POINTS] points
    cdef Py_ssize_t i
    cdef int k, p
    for k in range(N_POINTS):
        for i in range(n):
            for p in range(n_points):
                points[p] = load_positions(g, terms + k * row, i, p)
                if g.lines_at_once == 2:
                    points[p] = join_halves(points[p], load_positions(g, terms + (N_POINTS + k) * row, i, p))
            for p in range(n_points):
                out[(k * n_points + p) * stride + i] = transform_point_across(points, p, n_points)


cdef inline void transform_source(
    const winograd_t* g, const block_t* b, const buffer_t* source, const section_t* section,
    range_t channels, lanes_t* out
) noexcept nogil:
    """Write B x of some channels for a band: out (terms, channels, vectors of a term)."""
    cdef line_t steps = find_lines(g, source)
    cdef const real_t* x[N_POINTS]
    cdef const Py_ssize_t* band = section.band
    cdef Py_ssize_t c, i, line, n = band[3], stride = (channels.end - channels.first) * band[4]
    cdef Py_ssize_t row = N_ACROSS * band[1] + g.n_points_across, plane = source.plane * LANES
    cdef lanes_t* along = locate_offset(b, g.terms_along)
    for c in range(channels.first, channels.end):
        for i in range(g.lines_at_once):
            line = g.lines_at_once * section.line + i
            find_points(
                g, b, find_channel(b, source, c) + line * steps.line + band[2], line, steps.point, x
            )
            if g.nested:
                transform_points(g, x, LANES, plane, n, 0, along + i * N_POINTS * row, row)
            elif not g.down and g.grain == 1:
                transform_points(g, x, steps.vector, plane, n, g.length - band[0] * LANES, out, stride)
            else:
                transform_points(g, x, steps.vector, plane, n, 0, out, stride)
        if g.nested:
            if g.n_points_across == 4:
                transform_across(g, along, row, 4, band[1], out, stride)
            else:
                transform_across(g, along, row, 6, band[1], out, stride)
        out += band[4]


cdef inline void store_outputs(
    const winograd_t* g, real_t* y, Py_ssize_t step, const lanes_t* values, Py_ssize_t n
) noexcept nogil:
    """Write n values to a line, of which the vectors lie `step` apart."""
    cdef Py_ssize_t i, lane, n_lanes, lane_step = 1 if g.down else g.n_outputs
    if g.grain == LANES:
        for i in range(n // LANES):
            (<lanes_t*> (y + i * step))[0] = values[i]
        return
    for i in range(count_parts(n, LANES)):
        n_lanes = min(n - i * LANES, LANES)
        for lane in range(n_lanes):
            y[i * step + lane * lane_step] = (<real_t*> &values[i])[lane]


cdef inline inlined_t transform_nested_sums(
    const winograd_t* g, const lanes_t* sums, Py_ssize_t stride, const int m, lanes_t scale, lanes_t bias,
    lanes_t* values, Py_ssize_t row
) noexcept nogil:
    """Write the outputs of one vector of positions as two vectors of neighbouring columns: values (m, row).

    Where lines are paired, these are one of each line.
    """
    cdef lanes_t[N_ACROSS * N_POINTS] parts
    cdef lanes_t[N_ACROSS] pair
    cdef int k, s, t
    cdef int n_points = 8 - m           # m + r = 7, and r + 1 points across
    for k in range(N_POINTS):
        for t in range(N_ACROSS):
            parts[t * N_POINTS + k] = transform_sums_across(sums + k * n_points * stride, stride, t, n_points)
    for s in range(m):
        for t in range(N_ACROSS):
            pair[t] = transform_sums(parts + t * N_POINTS, 1, s, m) * scale + bias
        if g.grain == LANES:
            values[s * row], values[s * row + 1] = pair[0], pair[1]
        else:
            values[s * row] = zip_lanes(pair[0], pair[1], 0)
            values[s * row + 1] = zip_lanes(pair[0], pair[1], 1)


cdef inline inlined_t finish_outputs(
    const winograd_t* g, const block_t* b, const lanes_t* sums, const section_t* section,
    const operands_t* p, const buffer_t* target, const int m, const bint nested
) noexcept nogil:
    """Write the outputs from their sums, with bias and activation; m and nested are literals at the call."""
    cdef line_t steps = find_lines(g, target)
    cdef lanes_t[MAX_OUTPUTS * N_ACROSS * MAX_BAND] values
    cdef lanes_t scale, bias
    cdef const Py_ssize_t* band = section.band
    cdef Py_ssize_t o, j, n, n_vectors = band[1], stride = g.some_targets * n_vectors
    cdef Py_ssize_t n_across = N_ACROSS if nested else 1, row = n_across * n_vectors
    cdef Py_ssize_t first = n_across * band[0]      # vector in the target
    cdef Py_ssize_t i, line, n_values = row * LANES // g.lines_at_once
    cdef real_t* y
    cdef int s
    for o in range(section.targets.first, section.targets.end):
        bias = splat(p.bias[o] if p.bias != NULL else 0)
        scale = splat(p.scale[o] if p.scale != NULL else 1)
        # the next channel's outputs are fetched, since stores would wait for memory beyond the second cache
        y = <real_t*> find_channel(b, target, o + 1) + g.lines_at_once * section.line * steps.line
        for j in range(n_vectors):
            for s in range(m):
                for i in range(n_across):
                    prefetch(y + s * steps.point + (first + n_across * j + i) * steps.vector)
            if nested:
                transform_nested_sums(g, sums + j, stride, m, scale, bias, &values[N_ACROSS * j], row)
            else:
                for s in range(m):
                    values[s * row + j] = transform_sums(sums + j, stride, s, m) * scale + bias
        sums += n_vectors
        activate_row(values, values, m * row, p.activation, p.slope)
        for i in range(g.lines_at_once):
            line = g.lines_at_once * section.line + i
            y = <real_t*> find_channel(b, target, o) + line * steps.line + first * steps.vector
            for s in range(m):
                n = min(count_outputs(g, line, s) * g.grain - first * LANES, n_values)
                store_outputs(g, y + s * steps.point, steps.vector, &values[s * row + i], n)


cdef inline void compute_targets(
    const winograd_t* g, const block_t* b, const buffer_t* source, const buffer_t* target,
    const section_t* section, bint is_transformed, const operands_t* p
) noexcept nogil:
    """Write a section of at most some_targets output channels; is_transformed: B x is in scratch."""
    cdef const Py_ssize_t* band = section.band
    cdef lanes_t* terms = locate_offset(b, g.scratch)
    cdef lanes_t* sums = locate_offset(b, g.scratch_sums)
    cdef output_tiles_t tiles = g.output_tiles
    cdef operands_t q
    cdef range_t channels, units
    cdef Py_ssize_t part
    cdef int k
    tiles.n_out = section.targets.end - section.targets.first
    tiles.passes += 6 * section.k_band
    tiles.n_passes = 1
    units.first, units.end = 0, g.n_units * MAX_BAND        # all tiles of the section
    for part in range(count_parts(g.channels, g.some_channels)):
        channels.first = part * g.some_channels
        channels.end = min(channels.first + g.some_channels, g.channels)
        if not is_transformed or channels.first > 0 or channels.end < g.channels:
            transform_source(g, b, source, section, channels, terms)
        if channels.end == g.channels:
            tiles.passes = g.output_tiles.passes + 6 * (g.n_bands + section.k_band)
        for k in range(g.n_terms):
            q = bind(
                terms + k * (channels.end - channels.first) * band[4], band[4],
                b.transformed_weights + g.transformed_weights + section.targets.first * g.w_target
                + (k * g.channels + channels.first) * g.n_taps,
                sums + k * g.some_targets * band[1], band[1],
            )
            q.resume = channels.first > 0
            compute_output_tiles(&tiles, b, &q, units)
    if g.n_outputs == 4:
        if g.nested:
            finish_outputs(g, b, sums, section, p, target, 4, True)
        else:
            finish_outputs(g, b, sums, section, p, target, 4, False)
    elif g.nested:
        finish_outputs(g, b, sums, section, p, target, 2, True)
    else:
        finish_outputs(g, b, sums, section, p, target, 2, False)


cdef inline void winograd(
    const winograd_t* g,
    const block_t* b,
    const buffer_t* source,     # IN
    const buffer_t* target,     # OUT
    const operands_t* p,        # bias and activation
) noexcept nogil:
    """Write every output of a convolution."""
    cdef range_t heights, units = find_units(b, g.n_units)
    cdef Py_ssize_t line, k, part, start, end, height = g.output_tiles.height
    cdef Py_ssize_t n_heights = count_parts(g.targets, height), unit = 0
    cdef section_t section
    clear_zeros(g, b)
    for line in range(g.lines):
        for k in range(g.n_bands):
            section.line, section.k_band, section.band = line, k, b.tables + g.bands + BAND_FIELDS * k
            heights = cut(units, unit, n_heights)
            unit += n_heights
            start, end = heights.first * height, min(heights.end * height, g.targets)
            for part in range(count_parts(end - start, g.some_targets)):
                section.targets.first = start + part * g.some_targets
                section.targets.end = min(section.targets.first + g.some_targets, end)
                compute_targets(g, b, source, target, &section, part > 0, p)


cdef inline void transpose_source(
    const winograd_t* g, const block_t* b, const buffer_t* source, const stretch_t* stretch,
    range_t channels, lanes_t* out
) noexcept nogil:
    """Write B x of a group's channels, which become lanes, for n positions: out (6, n, LANES, width)."""
    cdef line_t steps = find_lines(g, source)
    cdef Py_ssize_t line = stretch.line, n = stretch.n
    cdef Py_ssize_t n_channels = channels.end - channels.first, width = count_parts(n_channels, LANES)
    cdef Py_ssize_t i, q, c, n_some
    cdef const real_t* x[N_POINTS]
    cdef Py_ssize_t[N_POINTS] planes    # from channel to channel
    cdef lanes_t[N_POINTS] points
    cdef lanes_t[N_POINTS * MAX_LANES] terms
    cdef int k, p
    for p in range(N_POINTS):
        planes[p] = source.plane * LANES if has_point(g, line, p) else 0
    for q in range(width):
        n_some = min(n_channels - q * LANES, LANES)
        find_points(
            g, b, find_channel(b, source, channels.first + q * LANES) + line * steps.line
            + stretch.first * steps.vector, line, steps.point, x
        )
        for i in range(n):
            for c in range(n_some):
                for p in range(N_POINTS):
                    points[p] = load_lanes(x[p] + c * planes[p] + i * steps.vector)
                    prefetch(x[p] + c * planes[p] + (i + 2) * steps.vector)
                for k in range(N_POINTS):
                    terms[k * LANES + c] = transform_point(points, k)
            for k in range(N_POINTS):
                for c in range(n_some, LANES):
                    terms[k * LANES + c] = splat(0)
                store_transposed(&terms[k * LANES], out + (k * n + i) * LANES * width + q, width)


cdef inline inlined_t transform_gradients(
    const winograd_t* g, const block_t* b, const buffer_t* dy, const stretch_t* stretch, range_t targets,
    const int m, lanes_t* out
) noexcept nogil:
    """Write A' dy of some output channels for n positions: out (6, targets, n).

    m is a literal at the call.
    """
    cdef Py_ssize_t n = stretch.n
    cdef line_t steps = find_lines(g, dy)
    cdef const real_t* row
    cdef lanes_t[MAX_OUTPUTS] d
    cdef Py_ssize_t[MAX_OUTPUTS] n_valid
    cdef Py_ssize_t o, j, stride = (targets.end - targets.first) * n
    cdef int k, s
    for s in range(m):
        n_valid[s] = count_outputs(g, stretch.line, s) - stretch.first
    for o in range(targets.first, targets.end):
        row = find_channel(b, dy, o) + stretch.line * steps.line + stretch.first * steps.vector
        for j in range(n):
            for s in range(m):
                d[s] = splat(0)
                if j < n_valid[s]:
                    d[s] = load_lanes(row + s * steps.point + j * steps.vector)
                    prefetch(row + s * steps.point + j * steps.vector + dy.plane * LANES)
            for k in range(N_POINTS):
                out[k * stride + j] = transform_gradient(d, k, m)
        out += n


cdef inline lanes_t* find_shared_terms(
    const winograd_t* g, const weight_sums_t* w, const block_t* b, Py_ssize_t group, Py_ssize_t line
) noexcept nogil:
    """Point at B x of a group and line, in memory that threads share."""
    return locate_offset(b, w.shared_terms) + (
        (group * g.lines + line) * N_POINTS * w.row * LANES * w.width
    )


cdef inline void share_terms(
    const winograd_t* g, const weight_sums_t* w, const block_t* b, const buffer_t* x
) noexcept nogil:
    """Write a thread's part of B x, before any thread reads that of others, if they share it."""
    cdef range_t channels, units = find_units(b, w.n_groups * g.lines)
    cdef stretch_t source
    cdef Py_ssize_t k
    if w.shared_terms < 0 or units.first == units.end:
        return
    clear_zeros(g, b)
    source.first, source.n = w.left, w.row
    for k in range(units.first, units.end):
        source.line = k % g.lines
        channels = find_group(g.channels, w.n_groups, k // g.lines)
        transpose_source(g, b, x, &source, channels, find_shared_terms(g, w, b, k // g.lines, source.line))


cdef inline range_t find_targets(const winograd_t* g, range_t units) noexcept nogil:
    """Return all output channels of some units, of which there is one for each tap and output channel."""
    cdef range_t targets
    targets.first, targets.end = 0, g.targets
    if units.end <= (units.first // g.targets + 1) * g.targets:     # of one tap
        targets.first, targets.end = units.first % g.targets, (units.end - 1) % g.targets + 1
    return targets


cdef inline void correlate_chunk(
    const winograd_t* g, const weight_sums_t* w, const block_t* b, const chunk_t* chunk, range_t units,
    Py_ssize_t width
) noexcept nogil:
    """Add dy x of a chunk to the sums of all terms of some units."""
    cdef const Py_ssize_t* taps = b.tables + w.taps
    cdef const lanes_t* gradients = locate_offset(b, w.gradients)
    cdef range_t some, targets = find_targets(g, units)
    cdef Py_ssize_t n = chunk.n, n_targets = targets.end - targets.first, o, height, v
    cdef channel_tile_t t
    cdef int k
    t.n_rows, t.n_columns, t.x_row, t.x_step, t.dy_row, t.dy_plane = 1, n, 0, 1, 0, n
    t.resume = chunk.resume
    for k in range(N_POINTS):
        t.sums = locate_offset(b, w.sums) + k * CHANNEL_TILE_HEIGHT * width
        for v in range(g.n_taps):
            t.x = chunk.terms + (k * chunk.row + taps[v]) * LANES * width
            some = cut(units, v * g.targets, g.targets)
            o = some.first
            while o < some.end:
                height = choose_height(some.end - o)
                t.dy = <const real_t*> (gradients + (k * n_targets + o - targets.first) * n)
                compute(&t, <int> height, <int> width)
                t.sums += N_POINTS * CHANNEL_TILE_HEIGHT * width
                o += height


cdef inline inlined_t accumulate_weights(
    const winograd_t* g, const weight_sums_t* w, const block_t* b, range_t units, range_t channels,
    const int r, real_t* dweight
) noexcept nogil:
    """Add G' sums to dweight for some units and input channels; r is a literal at the call."""
    cdef Py_ssize_t n_channels = channels.end - channels.first, width = count_parts(n_channels, LANES)
    cdef Py_ssize_t first, o, q, v, c, height, stride = CHANNEL_TILE_HEIGHT * width
    cdef const lanes_t* sums = locate_offset(b, w.sums)
    cdef range_t some
    cdef lanes_t[5] parts
    cdef real_t* at
    cdef int u, k
    for v in range(g.n_taps):
        some = cut(units, v * g.targets, g.targets)
        first = some.first
        while first < some.end:
            height = choose_height(some.end - first)
            for o in range(height):
                for q in range(width):
                    for u in range(r):
                        parts[u] = splat(0)
                        for k in range(N_POINTS):
                            parts[u] += weight_factor(k, u, r) * sums[k * stride + o * width + q]
                    at = dweight + (first + o) * g.w_out + (channels.first + q * LANES) * g.w_in
                    at += v * g.w_across
                    for c in range(min(LANES, n_channels - q * LANES)):
                        for u in range(r):
                            accumulate_at(b, at + u * g.w_along, (<real_t*> &parts[u])[c])
                        at += g.w_in
            sums += N_POINTS * stride
            first += height


cdef inline void correlate_by_winograd(
    const winograd_t* g,        # a plan of the forward pass, not nested
    const weight_sums_t* w,
    const block_t* b,
    const buffer_t* x,          # IN
    const buffer_t* dy,         # IN
    real_t* dweight,            # IN OUT, or OUT in the first block of a shard
) noexcept nogil:
    """Add the contribution of this block to the gradient of every weight; a thread has some units."""
    cdef range_t channels, targets, units = find_units(b, g.n_taps * g.targets)
    cdef Py_ssize_t k, line, part
    cdef stretch_t stretch, source
    cdef chunk_t chunk
    cdef bint is_ready = is_shared(b) and w.shared_terms >= 0
    if units.first == units.end:
        return
    targets = find_targets(g, units)
    clear_zeros(g, b)
    for k in range(w.n_groups):
        channels = find_group(g.channels, w.n_groups, k)
        for line in range(g.lines):
            for part in range(count_parts(g.length, w.chunk)):
                stretch.line, stretch.first = line, part * w.chunk
                stretch.n = min(w.chunk, g.length - stretch.first)
                source.line, source.first = line, stretch.first + w.left
                source.n = stretch.n + w.n_source - w.chunk
                chunk.n, chunk.resume = stretch.n, line > 0 or part > 0
                if is_ready:
                    chunk.row = w.row
                    chunk.terms = find_shared_terms(g, w, b, k, line) + (
                        stretch.first * LANES * count_parts(channels.end - channels.first, LANES)
                    )
                else:
                    chunk.row = source.n
                    chunk.terms = locate_offset(b, w.terms)
                    transpose_source(g, b, x, &source, channels, locate_offset(b, w.terms))
                if g.n_outputs == 4:
                    transform_gradients(g, b, dy, &stretch, targets, 4, locate_offset(b, w.gradients))
                else:
                    transform_gradients(g, b, dy, &stretch, targets, 2, locate_offset(b, w.gradients))
                correlate_chunk(g, w, b, &chunk, units, count_parts(channels.end - channels.first, LANES))
        if g.n_weights == 3:
            accumulate_weights(g, w, b, units, channels, 3, dweight)
        else:
            accumulate_weights(g, w, b, units, channels, 5, dweight)
