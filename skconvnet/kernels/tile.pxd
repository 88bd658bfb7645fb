"""The four register tiles that convolutions and dense layers are made of.

Each keeps height x width sums in registers, so that there are far fewer loads than multiply-adds:

    output_tile_t   outputs:  sum over channels and taps   of w * x     forward and input gradient
    weight_tile_t   weights:  sum over positions and lanes of dy * x    a convolution's weights
    dense_tile_t    weights:  sum over lanes               of dy * x    a dense layer's weights
    channel_tile_t  weights:  sum over positions and lanes of dy * x    a convolution's weights, whose input
                                                                        channels are lanes

A sum always runs in the same order, whatever the shape of the tile, so that a sample's outputs depend
neither on the tile nor on its neighbours in the batch.
"""

from skconvnet.kernels.simd cimport (
    CHANNEL_TILE_HEIGHT, LANES, TILE_WIDTH, inlined_t, lanes_t, larger, load_lanes, real_t, splat
)

cdef enum:
    TILE_HEIGHT = 4         # rows of a tile, at most
    COLUMN_HEIGHT = 12      # rows of an output tile of one column, at most
    CHANNEL_TILE_WIDTH = 3  # vectors of a channel tile, at most


ctypedef struct output_tile_t:
    const real_t* x             # IN   where a tap of offset 0 reads for the first column
    const real_t* w             # IN   the first output channel's weights
    const real_t* bias          # IN   one for each output channel, bias_out apart; or NULL
    const real_t* scale         # IN   so as well; it multiplies the sum before the bias is added
    Py_ssize_t bias_out
    lanes_t* y                  # OUT  rows of columns
    const Py_ssize_t* channels  # n_channels: which input channels
    const Py_ssize_t* x_tap     # n_taps: offset of a tap in x
    const Py_ssize_t* w_tap     # n_taps: its offset in w
    Py_ssize_t n_channels, n_taps
    Py_ssize_t x_plane, x_step  # from channel to channel, from column to column
    Py_ssize_t w_in, w_out      # from input to input and from output to output channel
    Py_ssize_t y_plane, y_step
    bint resume                 # begin with the sums that y holds, instead of the bias
    bint rectify                # y = max(sum, 0)


cdef inline inlined_t compute_outputs(
    const output_tile_t* t, const int height, const int width, const Py_ssize_t x_step
) noexcept nogil:
    """Compute height x width outputs; both are literals at the call, so the sums are registers."""
    cdef lanes_t[TILE_HEIGHT * TILE_WIDTH + COLUMN_HEIGHT] acc
    cdef lanes_t[TILE_WIDTH] pixel
    cdef const real_t* x
    cdef const real_t* x_q
    cdef const real_t* w
    cdef const real_t* w_q
    cdef const Py_ssize_t* x_tap = t.x_tap
    cdef const Py_ssize_t* w_tap = t.w_tap
    cdef Py_ssize_t n_taps = t.n_taps, w_out = t.w_out
    cdef Py_ssize_t k, q
    cdef real_t weight
    cdef int o, j
    for o in range(height):
        for j in range(width):
            if t.resume:
                acc[o * width + j] = t.y[o * t.y_plane + j * t.y_step]
            else:
                acc[o * width + j] = splat(
                    t.bias[o * t.bias_out] if t.bias != NULL and t.scale == NULL else 0
                )
    for k in range(t.n_channels):
        x = t.x + t.channels[k] * t.x_plane
        w = t.w + t.channels[k] * t.w_in
        for q in range(n_taps):
            x_q = x + x_tap[q]
            w_q = w + w_tap[q]
            for j in range(width):
                pixel[j] = load_lanes(x_q + j * x_step)
            for o in range(height):
                weight = w_q[o * w_out]
                for j in range(width):
                    acc[o * width + j] = acc[o * width + j] + weight * pixel[j]
    if t.scale != NULL:
        for o in range(height):
            for j in range(width):
                acc[o * width + j] = acc[o * width + j] * t.scale[o * t.bias_out] + t.bias[o * t.bias_out]
    if t.rectify:
        for o in range(height * width):
            acc[o] = larger(acc[o], splat(0))
    for o in range(height):
        for j in range(width):
            t.y[o * t.y_plane + j * t.y_step] = acc[o * width + j]


# A few filters by a few weights of the same kernel row.
ctypedef struct weight_tile_t:
    const lanes_t* x                    # IN
    const lanes_t* dy                   # IN
    Py_ssize_t[TILE_WIDTH] x_tap        # offsets in x
    Py_ssize_t n_rows, n_columns
    Py_ssize_t x_row_step, x_step, dy_row, dy_plane
    bint accumulate                     # add to sums; else write them
    lanes_t* sums                       # IN OUT  (height, width), still to be summed over the lanes


cdef inline inlined_t correlate(weight_tile_t* t, const int height, const int width) noexcept nogil:
    """Sum dy * x over positions; height and width are literals at the call."""
    cdef lanes_t[TILE_HEIGHT * TILE_WIDTH] acc
    cdef lanes_t[TILE_WIDTH] pixel
    cdef const lanes_t* x
    cdef const lanes_t* dy
    cdef lanes_t gradient
    cdef Py_ssize_t i, _j
    cdef int o, q
    for o in range(height * width):
        acc[o] = t.sums[o] if t.accumulate else splat(0)
    for i in range(t.n_rows):
        x = t.x + i * t.x_row_step
        dy = t.dy + i * t.dy_row
        for _j in range(t.n_columns):
            for q in range(width):
                pixel[q] = x[t.x_tap[q]]
            for o in range(height):
                gradient = dy[o * t.dy_plane]
                for q in range(width):
                    acc[o * width + q] = acc[o * width + q] + gradient * pixel[q]
            x = x + t.x_step
            dy = dy + 1
    for o in range(height * width):
        t.sums[o] = acc[o]


# A few units by a few vectors of their weights; x is transposed: its vectors are over inputs.
ctypedef struct dense_tile_t:
    const real_t* x                     # IN   (LANES, x_stride)
    const real_t* dy                    # IN   (height, dy_stride), of which LANES
    Py_ssize_t x_stride, dy_stride
    lanes_t[TILE_HEIGHT * TILE_WIDTH] sums  # OUT  (height, width)


cdef inline inlined_t multiply(dense_tile_t* t, const int height, const int width) noexcept nogil:
    """Sum dy x over the lanes; height and width are literals at the call."""
    cdef lanes_t[TILE_HEIGHT * TILE_WIDTH] acc
    cdef lanes_t[TILE_WIDTH] inputs
    cdef Py_ssize_t lane
    cdef real_t gradient
    cdef int o, q
    for o in range(height * width):
        acc[o] = splat(0)
    for lane in range(LANES):
        for q in range(width):
            inputs[q] = load_lanes(t.x + lane * t.x_stride + q * LANES)
        for o in range(height):
            gradient = t.dy[o * t.dy_stride + lane]
            for q in range(width):
                acc[o * width + q] = acc[o * width + q] + gradient * inputs[q]
    for o in range(height * width):
        t.sums[o] = acc[o]


# A few filters by a few vectors of input channels, for one tap; x is transposed.
ctypedef struct channel_tile_t:
    const lanes_t* x                    # IN   (positions, LANES, width)
    const real_t* dy                    # IN   (height, positions, LANES)
    Py_ssize_t n_rows, n_columns
    Py_ssize_t x_row, x_step, dy_row, dy_plane      # in positions
    bint resume                         # begin with the sums, instead of 0
    lanes_t* sums                       # IN OUT  (height, width)


cdef inline inlined_t correlate_channels(
    const channel_tile_t* t, const int height, const int width
) noexcept nogil:
    """Sum dy x over positions and lanes; height and width are literals at the call."""
    cdef lanes_t[CHANNEL_TILE_HEIGHT * CHANNEL_TILE_WIDTH] acc
    cdef lanes_t[CHANNEL_TILE_WIDTH] inputs
    cdef const lanes_t* x
    cdef const real_t* dy
    cdef real_t gradient
    cdef Py_ssize_t i, _j, lane, plane = t.dy_plane * LANES
    cdef int o, q
    for o in range(height * width):
        acc[o] = t.sums[o] if t.resume else splat(0)
    for i in range(t.n_rows):
        x = t.x + i * t.x_row * LANES * width
        dy = t.dy + i * t.dy_row * LANES
        for _j in range(t.n_columns):
            for lane in range(LANES):
                for q in range(width):
                    inputs[q] = x[lane * width + q]
                for o in range(height):
                    gradient = dy[o * plane + lane]
                    for q in range(width):
                        acc[o * width + q] = acc[o * width + q] + gradient * inputs[q]
            x = x + t.x_step * LANES * width
            dy = dy + LANES
    for o in range(height * width):
        t.sums[o] = acc[o]


cdef inline Py_ssize_t choose_height(Py_ssize_t n_filters) noexcept nogil:
    """Return how many of the filters that are left the next channel tile has."""
    if n_filters >= CHANNEL_TILE_HEIGHT:
        return CHANNEL_TILE_HEIGHT
    return min(n_filters, <Py_ssize_t> 4)


ctypedef fused any_tile_t:
    output_tile_t
    weight_tile_t
    dense_tile_t
    channel_tile_t


cdef inline inlined_t compute_sized(any_tile_t* t, const int height, const int width) noexcept nogil:
    """Run the body of the tile; height and width are literals at the call."""
    if any_tile_t is output_tile_t:
        if t.x_step == LANES:
            compute_outputs(t, height, width, LANES)
        else:
            compute_outputs(t, height, width, t.x_step)
    elif any_tile_t is weight_tile_t:
        correlate(t, height, width)
    elif any_tile_t is dense_tile_t:
        multiply(t, height, width)
    else:
        correlate_channels(t, height, width)


cdef inline inlined_t compute_wide(any_tile_t* t, int height, const int width) noexcept nogil:
    """Call compute_sized with the height as a literal; width is one already."""
    if any_tile_t is channel_tile_t and CHANNEL_TILE_HEIGHT == 8 and height == 8:
        compute_sized(t, CHANNEL_TILE_HEIGHT, width)
    elif height == 4:
        compute_sized(t, 4, width)
    elif height == 3:
        compute_sized(t, 3, width)
    elif height == 2:
        compute_sized(t, 2, width)
    else:
        compute_sized(t, 1, width)


cdef inline void compute_column(output_tile_t* t, int height) noexcept nogil:
    """Call compute_outputs for one column, with the height as a literal."""
    if height == 12:
        compute_outputs(t, 12, 1, 0)
    elif height == 11:
        compute_outputs(t, 11, 1, 0)
    elif height == 10:
        compute_outputs(t, 10, 1, 0)
    elif height == 9:
        compute_outputs(t, 9, 1, 0)
    elif height == 8:
        compute_outputs(t, 8, 1, 0)
    elif height == 7:
        compute_outputs(t, 7, 1, 0)
    elif height == 6:
        compute_outputs(t, 6, 1, 0)
    elif height == 5:
        compute_outputs(t, 5, 1, 0)
    else:
        compute_wide(t, height, 1)


cdef inline void compute(any_tile_t* t, int height, int width) noexcept nogil:
    """Compute at most TILE_HEIGHT x TILE_WIDTH sums, or COLUMN_HEIGHT x 1 of an output tile.

    Of a channel tile, CHANNEL_TILE_HEIGHT x CHANNEL_TILE_WIDTH at most, with a height of choose_height.
    """
    if width == 1:
        if any_tile_t is output_tile_t:
            compute_column(t, height)
        else:
            compute_wide(t, height, 1)
    elif width == 2:
        compute_wide(t, height, 2)
    elif width == 3:
        compute_wide(t, height, 3)
    elif TILE_WIDTH > 3 and any_tile_t is not channel_tile_t:
        if width == 4:
            compute_wide(t, height, 4)
        elif width == 5:
            compute_wide(t, height, 5)
        else:
            compute_wide(t, height, 6)
