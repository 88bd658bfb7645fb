"""Batch normalisation: Ioffe and Szegedy 2015, algorithm 1.

    mean, var = moments of x over samples and positions, channel by channel
    z = (x - mean) / sqrt(var + epsilon)                y = activation(gamma * z + beta)
    dx = gamma / sqrt(var + epsilon) * (dy - mean of dy - z * mean of dy * z)

It is two kernels with a synchronization point of all blocks between them.  Forward, `moments` reads x
of a block and `normalize` writes y with the moments of the whole batch; backward, `normalize` sums dy and
dy * z over a block, and `moments` writes dx with the sums of the whole batch.  In prediction there is
no `moments`, and `normalize` takes the running moments.  It does so in training, too, when it comes alone
(a frozen layer), and then writes dx itself.  A convolution or dense layer right before does the work of
`normalize` in prediction, where y is z = scale * sum + shift for every channel.
"""

from libc.math cimport sqrt

from skconvnet.kernels.activation cimport activate_row, activation_backward_row
from skconvnet.kernels.block cimport accumulate, block_t, buffer_t, find_row, find_units
from skconvnet.kernels.simd cimport LANES, lanes_t, real_t, splat, sum_lanes
from skconvnet.kernels.team cimport cut, range_t


# What normalization by running moments reads: offsets in the parameter vector.
ctypedef struct stats_t:
    Py_ssize_t channels
    Py_ssize_t gamma, beta              # < 0: none
    Py_ssize_t running                  # of the running means, then variances; < 0: no normalization
    double epsilon


# Of a block and of a batch, `moments` holds for each channel its mean, then its sum of squared deviations,
# the sum of dy and the sum of dy * z, each in a row of `channels` elements.
ctypedef struct batch_norm_t:
    buffer_t x, y, dx, dy               # dx and dy are the same buffer
    Py_ssize_t channels, ho, wo
    stats_t stats
    Py_ssize_t moments                  # offset in the moments of a block and of the batch; < 0: none
    double momentum
    int activation
    double slope


ctypedef struct affine_t:
    real_t mean, scale                  # z = (x - mean) * scale
    real_t gamma, beta


cdef inline affine_t make_affine(
    const stats_t* s, const block_t* b, Py_ssize_t c, real_t mean, double variance
) noexcept nogil:
    """Return mean, scale, gamma and beta of one channel with these moments."""
    cdef affine_t a
    a.mean = mean
    a.scale = <real_t> (1 / sqrt(variance + s.epsilon))
    a.gamma = b.params[s.gamma + c] if s.gamma >= 0 else 1
    a.beta = b.params[s.beta + c] if s.beta >= 0 else 0
    return a


cdef inline affine_t find_running_affine(const stats_t* s, const block_t* b, Py_ssize_t c) noexcept nogil:
    """Return mean, scale, gamma and beta of one channel with its running moments."""
    cdef const real_t* running = b.params + s.running
    return make_affine(s, b, c, running[c], running[s.channels + c])


cdef inline affine_t find_affine(const batch_norm_t* g, const block_t* b, Py_ssize_t c) noexcept nogil:
    """Return mean, scale, gamma and beta of one channel."""
    cdef const double* batch
    if not b.training or g.moments < 0:
        return find_running_affine(&g.stats, b, c)
    batch = b.batch_moments + g.moments
    return make_affine(
        &g.stats, b, c, <real_t> batch[c], batch[g.channels + c] / (<double> b.n_batch * g.ho * g.wo)
    )


cdef inline double sum_samples(const block_t* b, lanes_t v) noexcept nogil:
    """Return the sum over the lanes that hold a sample."""
    cdef Py_ssize_t lane
    cdef double total = 0
    for lane in range(b.n):
        total += (<real_t*> &v)[lane]
    return total


cdef inline void moments_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write the moments of x of a block; partial sums run along rows, which keeps rounding errors small."""
    cdef const batch_norm_t* g = <const batch_norm_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t channels = find_units(b, g.channels)
    cdef const lanes_t* x
    cdef lanes_t row, total
    cdef real_t mean
    cdef double* moments = b.moments + g.moments
    for c in range(channels.first, channels.end):
        total = splat(0)
        for i in range(g.ho):
            x = find_row(b, &g.x, c, i)
            row = splat(0)
            for j in range(g.wo):
                row = row + x[j]
            total = total + row
        mean = <real_t> (sum_samples(b, total) / (<double> b.n * g.ho * g.wo))
        total = splat(0)
        for i in range(g.ho):
            x = find_row(b, &g.x, c, i)
            row = splat(0)
            for j in range(g.wo):
                row = row + (x[j] - mean) * (x[j] - mean)
            total = total + row
        moments[c] = mean
        moments[g.channels + c] = sum_samples(b, total)


cdef inline void merge_moments(
    const batch_norm_t* g,
    const double* blocks,       # IN   (n_blocks, stride)
    Py_ssize_t n_blocks,
    Py_ssize_t stride,
    Py_ssize_t n_batch,         # samples
    range_t channels,
    double* batch,              # OUT  (stride,)
) noexcept nogil:
    """Merge the moments of some channels of the blocks, in order (Chan, Golub and LeVeque 1979)."""
    cdef Py_ssize_t c, k
    cdef double n, n_block, mean, squares, shift
    cdef const double* block
    for c in range(channels.first, channels.end):
        n = mean = squares = 0
        for k in range(n_blocks):
            block = blocks + k * stride + g.moments
            n_block = <double> min(LANES, n_batch - k * LANES) * g.ho * g.wo
            shift = block[c] - mean
            mean += shift * n_block / (n + n_block)
            squares += block[g.channels + c] + shift * shift * n * n_block / (n + n_block)
            n += n_block
        batch[g.moments + c] = mean
        batch[g.moments + g.channels + c] = squares


cdef inline void merge_gradient_sums(
    const batch_norm_t* g, const double* blocks, Py_ssize_t n_blocks, Py_ssize_t stride, range_t channels,
    double* batch
) noexcept nogil:
    """Add up the sums of dy and dy * z of some channels of the blocks, in order."""
    cdef Py_ssize_t c, k, s, index
    for s in range(2, 4):
        for c in range(channels.first, channels.end):
            index = g.moments + s * g.channels + c
            batch[index] = 0
            for k in range(n_blocks):
                batch[index] += blocks[k * stride + index]


cdef inline void update_running_stats(
    const batch_norm_t* g, const double* batch, Py_ssize_t n_batch, real_t* params
) noexcept nogil:
    """Move the running moments towards those of a batch, whose variance divides by n - 1."""
    cdef Py_ssize_t c
    cdef double n = <double> n_batch * g.ho * g.wo
    cdef double keep = g.momentum, variance
    cdef real_t* running = params + g.stats.running
    if n < 2:
        return
    for c in range(g.channels):
        variance = batch[g.moments + g.channels + c] / (n - 1)
        running[c] = <real_t> (keep * running[c] + (1 - keep) * batch[g.moments + c])
        running[g.channels + c] = <real_t> (keep * running[g.channels + c] + (1 - keep) * variance)


cdef inline void normalize_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    cdef const batch_norm_t* g = <const batch_norm_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* x
    cdef lanes_t* y
    cdef affine_t a
    cdef real_t scale
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        if rows.first == rows.end:
            continue
        a = find_affine(g, b, c)
        scale = a.scale * a.gamma
        for i in range(rows.first, rows.end):
            x = find_row(b, &g.x, c, i)
            y = find_row(b, &g.y, c, i)
            for j in range(g.wo):
                y[j] = (x[j] - a.mean) * scale + a.beta
            activate_row(y, y, g.wo, g.activation, g.slope)


cdef inline void scale_gradients(const batch_norm_t* g, const block_t* b) noexcept nogil:
    """Overwrite dy with dx where the moments do not depend on x."""
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* y
    cdef lanes_t* dy
    cdef affine_t a
    cdef real_t scale
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        if rows.first == rows.end:
            continue
        a = find_affine(g, b, c)
        scale = a.scale * a.gamma
        for i in range(rows.first, rows.end):
            y = find_row(b, &g.y, c, i)
            dy = find_row(b, &g.dy, c, i)
            activation_backward_row(y, y, dy, g.wo, g.activation, g.slope)
            for j in range(g.wo):
                dy[j] = scale * dy[j]


cdef inline void normalize_backward(const void* fields, const block_t* b) noexcept nogil:
    """Backpropagate dy through the activation in place, sum it, and accumulate dgamma and dbeta."""
    cdef const batch_norm_t* g = <const batch_norm_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t channels = find_units(b, g.channels)
    cdef const lanes_t* x
    cdef const lanes_t* y
    cdef lanes_t* dy
    cdef lanes_t total, product
    cdef affine_t a
    cdef double* sums = b.moments + g.moments + 2 * g.channels
    if g.dy.offset < 0:
        return
    if g.moments < 0:
        scale_gradients(g, b)
        return
    for c in range(channels.first, channels.end):
        a = find_affine(g, b, c)
        total = product = splat(0)
        for i in range(g.ho):
            x = find_row(b, &g.x, c, i)
            dy = find_row(b, &g.dy, c, i)
            y = find_row(b, &g.y, c, i)
            activation_backward_row(y, y, dy, g.wo, g.activation, g.slope)
            for j in range(g.wo):
                total = total + dy[j]
                product = product + dy[j] * ((x[j] - a.mean) * a.scale)
        sums[c] = sum_lanes(total)
        sums[g.channels + c] = sum_lanes(product)
        if g.stats.beta >= 0:
            accumulate(b, g.stats.beta + c, <real_t> sums[c])
        if g.stats.gamma >= 0:
            accumulate(b, g.stats.gamma + c, <real_t> sums[g.channels + c])


cdef inline void moments_backward(const void* fields, const block_t* b) noexcept nogil:
    """Overwrite dy with dx, if required; lanes without a sample get 0."""
    cdef const batch_norm_t* g = <const batch_norm_t*> fields
    cdef Py_ssize_t c, i, j
    cdef range_t rows, units = find_units(b, g.channels * g.ho)
    cdef const lanes_t* x
    cdef lanes_t* dx
    cdef affine_t a
    cdef real_t mean_dy, mean_product
    cdef lanes_t scale
    cdef const double* sums = b.batch_moments + g.moments + 2 * g.channels
    cdef double n = <double> b.n_batch * g.ho * g.wo
    if g.dx.offset < 0:
        return
    for c in range(g.channels):
        rows = cut(units, c * g.ho, g.ho)
        if rows.first == rows.end:
            continue
        a = find_affine(g, b, c)
        mean_dy = <real_t> (sums[c] / n)
        mean_product = <real_t> (sums[g.channels + c] / n)
        scale = b.lane_mask * (a.gamma * a.scale)
        for i in range(rows.first, rows.end):
            x = find_row(b, &g.x, c, i)
            dx = find_row(b, &g.dx, c, i)
            for j in range(g.wo):
                dx[j] = scale * (dx[j] - mean_dy - (x[j] - a.mean) * a.scale * mean_product)
