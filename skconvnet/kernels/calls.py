"""Kernel calls: from sizes to the places and index tables that a machine walks over.

A plan first makes its calls, which ask for the columns of zeros that they read beside their images
(a convolution's padding); then it lays out its memory; then every call fills in its fields.
Rows of padding need no memory: taps that fall outside the image are left out row by row.
"""

from dataclasses import dataclass

import numpy as np

# Positions of an output plane that the weight gradient goes through with all kernel rows at a time.
STRIP = 128

# Winograd's convolution pays for sums over at least so many channels and kernel rows, and for at
# least so many channels made.
LEAST_SUM, LEAST_TARGETS = 48, 8

# The fields of buffer_t for no buffer, of terms_t for no terms, of pool_t for no pooling.
NOWHERE = {"offset": -1, "plane": 0, "row": 0}
NO_TERMS = dict.fromkeys(["n_outputs", "before", "rows", "tiles", "kw", "sums", "stride"], 0)
NO_POOL = {
    **dict.fromkeys(["channels", "hi", "wi", "ho", "wo", "kh", "kw", "sh", "sw", "top", "left"], 0),
    **dict.fromkeys(["count_padding", "disjoint", "covering", "deferred"], 0),
    **dict.fromkeys(("x", "y", "dx", "dy"), NOWHERE),
}

# The activation of a call that has none yet; those whose slope does not follow from a value alone,
# which a call that makes values therefore cannot apply in place.
NO_ACTIVATION = "identity", 0.0
NOT_IN_PLACE = "arctan", "gelu", "softmax", "log_softmax"

# Columns in a tile, at most; with a narrower one, a band is several tiles.
WIDEST_TILE = 6


@dataclass
class Buffer:
    """A (channels, height, width) array in a block's arena, with columns of zeros at its sides."""

    shape: tuple
    left: int = 0
    right: int = 0
    offset: int = -1

    def need(self, left, right):
        """Ask for that many columns of zeros, at least."""
        self.left = max(self.left, left)
        self.right = max(self.right, right)

    @property
    def row(self):
        return self.left + self.shape[2] + self.right

    @property
    def plane(self):
        return self.shape[1] * self.row

    @property
    def size(self):
        return self.shape[0] * self.plane

    def place(self, start):
        """Put the buffer at an offset of the arena and return the offset behind it."""
        self.offset = start
        return start + self.size

    def fields(self):
        """The fields of buffer_t."""
        offset = self.offset if self.offset < 0 else self.offset + self.left
        return {"offset": offset, "plane": self.plane, "row": self.row}


class FlatBuffer:
    """A buffer seen as a vector: as many channels of one pixel."""

    row = plane = 1

    def __init__(self, base):
        self.base = base
        self.shape = (int(np.prod(base.shape)), 1, 1)

    def place(self, start):
        """It has no memory of its own."""
        return start

    def fields(self):
        """The fields of buffer_t."""
        assert not self.base.left and not self.base.right, "a vector has no room for padding"
        return {"offset": self.base.offset, "plane": 1, "row": 1}


class Image:
    """What flows between two layers: a value and, where somebody needs it, its gradient.

    layer_shape: (channels, height, width), or (features,) for a vector, whose shape is (features, 1, 1).
    """

    def __init__(self, layer_shape, needs_gradient):
        self.layer_shape = tuple(layer_shape)
        shape = self.layer_shape if len(layer_shape) == 3 else (*layer_shape, 1, 1)
        self.value = Buffer(shape)
        self.gradient = Buffer(shape)
        self.needs_gradient = needs_gradient

    @property
    def shape(self):
        return self.value.shape

    def flatten(self):
        """See the same memory as a vector, but for a gradient that has padding: that gets its own."""
        flat = Image((int(np.prod(self.shape)),), self.needs_gradient)
        flat.value = FlatBuffer(self.value)
        if isinstance(self.gradient, FlatBuffer):
            flat.gradient = self.gradient
        elif self.gradient.left or self.gradient.right:
            flat.gradient = Buffer(flat.value.shape)
        else:
            flat.gradient = FlatBuffer(self.gradient)
        return flat

    def fields(self):
        """The fields of image_t."""
        channels, height, width = self.shape
        return {
            "channels": channels,
            "height": height,
            "width": width,
            "value": self.value.fields(),
            "gradient": self.gradient.fields(),
        }


class Tables:
    """The index tables of a program, one behind the other."""

    def __init__(self):
        self._parts = []
        self._size = 0

    def add(self, values):
        """Append a table and return where it starts."""
        part = np.ravel(np.asarray(values, dtype=np.intp))
        start = self._size
        self._parts.append(part)
        self._size += len(part)
        return start

    def join(self):
        """All tables as one array, never empty."""
        return np.concatenate([*self._parts, np.zeros(1, np.intp)])


@dataclass(frozen=True)
class Phase:
    """Every `out_step`-th position of an axis from `first`: positions that share their taps.

    The m-th of its `count` positions reads, for kernel index k at offset t of `taps`, position
    ``m * in_step + t`` of the other axis.
    """

    first: int
    out_step: int
    in_step: int
    count: int
    taps: list

    def find_taps(self, m, n_source):
        """The range of taps that the m-th position reads within a source so long; (0, 0) for none."""
        inside = [q for q, (_, tap) in enumerate(self.taps) if 0 <= m * self.in_step + tap < n_source]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    def find_positions(self, tap, n_source):
        """First and number of the positions that a tap reads within a source so long for."""
        inside = [m for m in range(self.count) if 0 <= m * self.in_step + tap < n_source]
        return (inside[0], len(inside)) if inside else (0, 0)


def forward_phases(n_out, kernel, stride, dilation, before):
    """How the outputs of an axis read its inputs: one phase."""
    return [Phase(0, 1, stride, n_out, [(k, k * dilation - before) for k in range(kernel)])]


def backward_phases(n_in, kernel, stride, dilation, before):
    """How the gradients of an axis' inputs read those of its outputs: a phase for each remainder.

    Output i reads with kernel index k the input ``i * stride + k * dilation - before``.
    """
    phases = []
    for first in range(min(stride, n_in)):
        taps = [
            (k, (first + before - k * dilation) // stride)
            for k in range(kernel)
            if (first + before - k * dilation) % stride == 0
        ]
        phases.append(Phase(first, stride, 1, len(range(first, n_in, stride)), taps))
    return phases


def cut_into_bands(phase, n_source):
    """Cut a phase into runs of columns that need fewer taps than all, where that saves arithmetic.

    Columns near the border of the source have taps that read only zeros. A tile of w columns costs
    about max(w, 2) multiply-adds a tap (below 2, the sums wait for each other), and takes every tap
    that any of its columns needs; the cheapest way to cut n columns is found from those of fewer.
    """
    needed = [phase.find_taps(m, n_source) for m in range(phase.count)]
    best = [(0, 0, (0, 0))]  # for the first n columns: cost, start of the last tile, its taps
    for end in range(1, phase.count + 1):
        candidates = []
        low, high = needed[end - 1]
        for start in range(end - 1, max(end - WIDEST_TILE, 0) - 1, -1):
            if needed[start] != (0, 0):
                low = min(low, needed[start][0]) if high else needed[start][0]
                high = max(high, needed[start][1])
            cost = best[start][0] + (high - low) * max(end - start, 2) + 1
            candidates.append((cost, start, (low, high)))
        best.append(min(candidates))
    tiles, end = [], phase.count
    while end:
        _, start, taps = best[end]
        tiles.append((start, end, taps))
        end = start
    bands = []
    for start, end, taps in reversed(tiles):
        if bands and bands[-1][2] == taps:
            start = bands.pop()[0]
        bands.append((start, end, taps))
    return [
        Phase(
            phase.first + start * phase.out_step,
            phase.out_step,
            phase.in_step,
            end - start,
            [(k, tap + start * phase.in_step) for k, tap in phase.taps[low:high]],
        )
        for start, end, (low, high) in bands
    ]


def count_side_columns(phases, n_columns):
    """How many columns left and right of an image its readers reach."""
    left = right = 0
    for phase in phases:
        for _, tap in phase.taps:
            left = max(left, -tap)
            right = max(right, (phase.count - 1) * phase.in_step + tap - (n_columns - 1))
    return left, right


def walk_fields(machine, tables, rows, columns, source, target, kernel_width, weight_strides, reaches):
    """Fill in the fields of walk_t.

    rows, columns: the phases of both axes; source, target: the buffers read and written;
    weight_strides: from input to input and from output to output channel; reaches: bool array
    (outputs, inputs), which output channel sees which input channel.
    """
    passes, row_table, x_taps, w_taps = [], [], [], []
    for column in columns:
        for row in rows:
            first_tap = len(x_taps)
            for u, down in row.taps:
                for v, right in column.taps:
                    x_taps.append((down * source.row + right) * machine.lanes)
                    w_taps.append(u * kernel_width + v)
            # rows that follow each other without a gap and read the same taps are one long row
            seamless = (
                source.row * row.in_step == column.count * column.in_step
                and target.row * row.out_step == column.count * column.out_step
            )
            taps = [row.find_taps(m, source.shape[1]) for m in range(row.count)]
            starts = [m for m in range(row.count) if m == 0 or not seamless or taps[m] != taps[m - 1]]
            ends = [*starts[1:], row.count]
            steps = column.first, column.out_step, column.in_step * machine.lanes
            if seamless:
                for k, (m, end) in enumerate(zip(starts, ends)):
                    passes.append((len(row_table) + k, 1, (end - m) * column.count, *steps))
            else:
                passes.append((len(row_table), row.count, column.count, *steps))
            for m in starts:
                low, high = taps[m]
                row_table.append(
                    (
                        (row.first + m * row.out_step) * target.row,
                        m * row.in_step * source.row * machine.lanes,
                        first_tap + low * len(column.taps),
                        (high - low) * len(column.taps),
                    )
                )
    one_column = all(columns_in_pass == 1 for _, _, columns_in_pass, *_ in passes)
    height = share_evenly(len(reaches), machine.column_height if one_column else machine.tile_height)
    return {
        "n_out": len(reaches),
        "height": height,
        "w_in": weight_strides[0],
        "w_out": weight_strides[1],
        "n_passes": len(passes),
        "passes": tables.add(passes),
        "rows": tables.add(row_table),
        "x_taps": tables.add(x_taps),
        "w_taps": tables.add(w_taps),
        **reach_fields(tables, reaches, height),
    }


def share_evenly(total, most):
    """The smallest part that cuts a total into as few parts of at most so many as can be."""
    return -(-total // -(-total // most))


def reach_fields(tables, reaches, height):
    """List, for each group of `height` outputs, the inputs that any of them sees."""
    groups, channels, known = [], [], {}
    for start in range(0, len(reaches), height):
        seen = np.flatnonzero(reaches[start : start + height].any(axis=0)).tolist()
        at = known.setdefault(tuple(seen), len(channels))
        if at == len(channels):
            channels.extend(seen)
        groups.append((at, len(seen)))
    return {"reach": tables.add(groups), "channels": tables.add(channels)}


def patch_fields(machine, tables, rows, columns, kernel, x, dy, reaches):
    """Cut the gradient to a convolution's weight into patches: fields of patches_t.

    rows, columns: the forward phases; kernel: pair; x, dy: buffers; reaches: bool array (filters,
    channels) of a group. Weights of one kernel column v read the same output columns j, the
    fewer the further v reaches into the padding; so patches of one v each save arithmetic. Patches
    across v read neighbouring pixels of few channels, which the caches like better (64 channels of
    32x32, 3x3 kernel: 5.3 against 7.9 ms a block), so the saving has to be worth it.
    """
    patches, weights, known = [], [], {}
    spans = [columns.find_positions(tap, x.shape[2]) for _, tap in columns.taps]
    for start in range(0, len(reaches), machine.tile_height):
        seen = tuple(np.flatnonzero(reaches[start : start + machine.tile_height].any(axis=0)).tolist())
        if seen not in known:
            apart = [([(c, v) for c in seen], span) for v, span in enumerate(spans)]
            across = [([(c, v) for c in seen for v in range(kernel[1])], (0, columns.count))]
            across, apart = (_cut_evenly(runs, machine.tile_width) for runs in (across, apart))
            cheapest = apart if _count_work(apart) < 0.9 * _count_work(across) else across
            known[seen] = []
            for members, span in cheapest:
                known[seen].append((len(weights), len(members), *span))
                weights.extend(
                    (c * x.plane + columns.taps[v][1], c * kernel[0] * kernel[1] + v, c) for c, v in members
                )
        patches += [
            (start, u, *patch) for patch in known[seen] for u in range(0, kernel[0], machine.kernel_rows)
        ]
    kernel_rows = []
    for _, tap in rows.taps:
        first, count = rows.find_positions(tap, x.shape[1])
        kernel_rows.append((first, count, (first * rows.in_step + tap) * x.row))
    return {
        "x": x.fields(),
        "dy": dy.fields(),
        "ci": reaches.shape[1],
        "co": reaches.shape[0],
        "ho": dy.shape[1],
        "kh": kernel[0],
        "kw": kernel[1],
        "x_row_step": rows.in_step * x.row,
        "x_step": columns.in_step,
        "kernel_rows": tables.add(kernel_rows),
        "n_patches": len(patches),
        "patches": tables.add(patches),
        "weights": tables.add(weights),
        "strip": max((STRIP if kernel[1] > 1 else STRIP // 2) // dy.shape[2], 1),
        "connections": tables.add(reaches),
    }


def _cut_evenly(runs, most):
    """Cut each run of members into as few equal parts of at most so many as can be."""
    parts = []
    for members, span in runs:
        n_parts = -(-len(members) // most)
        for part in range(n_parts):
            cut = members[part * len(members) // n_parts : (part + 1) * len(members) // n_parts]
            parts.append((cut, span))
    return parts


def _count_work(cut):
    """Multiply-adds of patches, but for the factors that all have in common."""
    return sum(max(len(members), 2) * n_columns for members, (_, n_columns) in cut)


class Call:
    """A kernel call: `name` is the machine's word for it.

    One that makes values y, and says so by an `activation` (kind, slope), may activate them itself.
    """

    activation = None

    def follow(self, last):
        """Share work with the call before, if that saves any."""

    def list_ways(self, machine, tables, scratch, n_ways, n_products):
        """The fields of winograd_t for the ways with fewer products, and how many products there are then."""
        return [], n_products

    def end_fields(self):
        """The fields that say where input, output and their gradients lie."""
        return {
            "x": self.x.value.fields(),
            "y": self.y.value.fields(),
            "dx": self.x.gradient.fields(),
            "dy": self.y.gradient.fields(),
        }

    def activation_fields(self, machine):
        """The fields that say which activation follows."""
        kind, slope = self.activation
        return {"activation": machine.activation_kinds[kind], "slope": slope}

    def count_scratch(self, machine):
        """Lane vectors of scratch that the kernel wants when it runs backward."""
        return 0

    def fields(self, machine, tables, scratch):
        """The fields of the kernel's struct, once all buffers are placed."""
        raise NotImplementedError


class Winograd:
    """How a convolution, or the gradient to its input, does with fewer products: see winograd.pxd.

    kernel: pair; source, target: images, the gradient's if flip, which also says that kernel columns
    run backwards; before: columns of the source left of the first output's first tap.
    """

    def __init__(self, kernel, source, target, before, flip):
        self.kernel, self.before, self.flip = kernel, before, flip
        self.source, self.target = source.shape, target.shape
        self._buffer = target.gradient if flip else target.value
        self.n_outputs = 7 - kernel[1]
        self.tiles = self.target[2] // self.n_outputs if self.n_outputs > 0 else 0

    def is_worth_it(self):
        """Whether it can be done, and sums are long enough to pay for the transforms."""
        return (
            self.kernel[1] in (3, 5)
            and self.target[2] % self.n_outputs == 0
            and self.source[0] * self.kernel[0] >= LEAST_SUM
            and self.target[0] >= LEAST_TARGETS
        )

    def count_side_columns(self):
        """Columns that it reads left and right of the source."""
        last = self.target[2] - self.n_outputs + 5 - self.before
        return max(self.before, 0), max(last - (self.source[2] - 1), 0)

    def count_scratch(self):
        """Lane vectors for one term of the transformed source."""
        return self.source[0] * self.source[1] * self.tiles

    def place_terms(self, machine, start):
        """Place what the gradient to the weight goes through: B x, A' dy, the sums; and give the end."""
        term = Buffer((*self.source[:2], self.tiles))
        slopes = Buffer((*self.target[:2], self.tiles))
        sums = slopes.place(term.place(start))
        return term, slopes, sums, sums + 6 * self.count_sums(machine)

    def count_sums(self, machine):
        """Vectors for the sums of one product, at most: every patch begins a new one."""
        (channels, *_), (filters, *_), kh = self.source, self.target, self.kernel[0]
        largest = machine.tile_height, machine.tile_width, machine.kernel_rows
        n_patches = np.prod([-(-n // most) for n, most in zip((filters, channels, kh), largest)])
        return filters * channels * kh // machine.lanes + int(n_patches)

    def term_fields(self, machine, tables, scratch, rows):
        """The fields of patches_t and of terms_t; rows: the forward phase."""
        term, slopes, sums, _ = self.place_terms(machine, scratch)
        column = Phase(0, 1, 1, self.tiles, [(0, 0)])
        reaches = np.ones((self.target[0], self.source[0]), bool)
        kernel = self.kernel[0], 1
        patches = patch_fields(machine, tables, rows, column, kernel, term, slopes, reaches)
        terms = {
            "n_outputs": self.n_outputs,
            "before": self.before,
            "rows": self.source[1],
            "tiles": self.tiles,
            "kw": self.kernel[1],
            "sums": sums,
            "stride": self.count_sums(machine),
        }
        return patches, terms

    def count_products(self):
        """Numbers in the transformed weights."""
        return 6 * self.source[0] * self.target[0] * self.kernel[0]

    def fields(self, machine, tables, scratch, products, weight, rows, weight_strides):
        """The fields of winograd_t; products, weight: places of the weights, transformed and as they are."""
        (channels, n_rows, _), (kh, kw) = self.source, self.kernel
        term = Buffer((channels, n_rows, self.tiles))
        column = Phase(0, self.n_outputs, 1, self.tiles, [(0, 0)])
        reaches = np.ones((self.target[0], channels), bool)
        strides = kh, channels * kh
        return {
            "n_outputs": self.n_outputs,
            "before": self.before,
            "channels": channels,
            "rows": n_rows,
            "tiles": self.tiles,
            "targets": self.target[0],
            "kh": kh,
            "kw": kw,
            "weight": weight,
            "w_in": weight_strides[0],
            "w_out": weight_strides[1],
            "flip": self.flip,
            "products": products,
            "scratch": scratch,
            "height": self.target[1],
            "width": self.target[2],
            "walk": walk_fields(machine, tables, rows, [column], term, self._buffer, 1, strides, reaches),
        }


class Convolution(Call):
    """The call of a convolution.

    kernel, stride, dilation: pairs; padding: ((top, bottom), (left, right)); weight, bias: places
    in the parameter vector, bias -1 for none; connections: bool array (filters, channels) of a group;
    there are as many groups as x has times these channels.
    """

    name = "conv"
    activation = NO_ACTIVATION

    def __init__(self, x, y, weight, bias, kernel, stride, dilation, padding, connections):
        self.x, self.y, self.weight, self.bias = x, y, weight, bias
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.before = padding[0][0], padding[1][0]
        self.connections = connections
        self.pool = None
        self.groups = x.shape[0] // connections.shape[1]
        axes = list(zip(kernel, stride, dilation, self.before))
        rows, columns = (forward_phases(n, *axis) for n, axis in zip(y.shape[1:], axes))
        x.value.need(*count_side_columns(columns, x.shape[2]))
        (self.columns,) = columns
        self.forward = rows, cut_into_bands(self.columns, x.shape[2])
        rows, columns = (backward_phases(n, *axis) for n, axis in zip(x.shape[1:], axes))
        bands = [band for phase in columns for band in cut_into_bands(phase, y.shape[2])]
        self.backward = rows, bands
        if x.needs_gradient:
            y.gradient.need(*count_side_columns(bands, y.shape[2]))
        left = padding[1][0]
        ways = {}
        if connections.all() and self.groups == stride[1] == dilation[1] == 1:
            ways["forward"] = Winograd(kernel, x, y, left, flip=False)
            if x.needs_gradient:
                ways["backward"] = Winograd(kernel, y, x, kernel[1] - 1 - left, flip=True)
        self.fast = {side: way for side, way in ways.items() if way.is_worth_it()}
        if "backward" in self.fast:
            y.gradient.need(*self.fast["backward"].count_side_columns())

    def count_scratch(self, machine):
        """Lane vectors for transformed images and the sums of their products."""
        counts = [way.count_scratch() for way in self.fast.values()]
        if "forward" in self.fast:
            counts.append(self.fast["forward"].place_terms(machine, 0)[-1])
        return max(counts, default=0)

    def list_ways(self, machine, tables, scratch, n_ways, n_products):
        """Number the ways with fewer products, and give their fields."""
        kh, kw = self.kernel
        strides = kh * kw, self.x.shape[0] * kh * kw
        ends = {"forward": (self.forward[0], strides), "backward": (self.backward[0], strides[::-1])}
        fields = []
        for side, way in self.fast.items():
            way.number = n_ways + len(fields)
            fields.append(way.fields(machine, tables, scratch, n_products, self.weight, *ends[side]))
            n_products += way.count_products()
        return fields, n_products

    def fields(self, machine, tables, scratch):
        """The fields of conv_t."""
        x, y, (kh, kw) = self.x, self.y, self.kernel
        (co, ci), (ho, wo) = self.connections.shape, y.shape[1:]
        (rows,) = self.forward[0]
        linear = {
            **self.end_fields(),
            "weight": self.weight,
            "bias": self.bias,
            "groups": self.groups,
            "group_weights": co * ci * kh * kw,
            "ci": ci,
            "co": co,
            "ho": ho,
            "wo": wo,
            **self.activation_fields(machine),
            "forward": walk_fields(
                machine,
                tables,
                *self.forward,
                x.value,
                y.value,
                kw,
                (kh * kw, ci * kh * kw),
                self.connections,
            ),
            "backward": walk_fields(
                machine,
                tables,
                *self.backward,
                y.gradient,
                x.gradient,
                kw,
                (ci * kh * kw, kh * kw),
                self.connections.T,
            ),
            "fast_forward": self.fast["forward"].number if "forward" in self.fast else -1,
            "fast_backward": self.fast["backward"].number if "backward" in self.fast else -1,
        }
        if "forward" in self.fast:
            patches, terms = self.fast["forward"].term_fields(machine, tables, scratch, rows)
        else:
            ends = x.value, y.gradient
            patches = patch_fields(machine, tables, rows, self.columns, self.kernel, *ends, self.connections)
            terms = NO_TERMS
        pool = self.pool.fields(machine, tables, scratch) if self.pool else NO_POOL
        return {"linear": linear, "patches": patches, "terms": terms, "pool": pool}


class Product(Call):
    """The call of a dense layer on a flattened image: every output is one sum over all of it."""

    name = "dense"
    activation = NO_ACTIVATION

    def __init__(self, x, y, weight, bias):
        self.x, self.y, self.weight, self.bias = x, y, weight, bias

    def count_scratch(self, machine):
        """Lane vectors for the input, transposed."""
        return -(-self.x.shape[0] // machine.lanes) * machine.lanes

    def fields(self, machine, tables, scratch):
        """The fields of dense_t."""
        y, ci, co = self.y, self.x.shape[0], self.y.shape[0]

        def walk(n_out, n_in, source_step, weight_in, weight_out):
            # one pass over one row and one column; the inputs are taps of one channel
            taps = np.arange(n_in)
            return {
                "n_out": n_out,
                "height": machine.column_height,
                "w_in": 0,
                "w_out": weight_out,
                "n_passes": 1,
                "passes": tables.add((0, 1, 1, 0, 1, machine.lanes)),
                "rows": tables.add((0, 0, 0, n_in)),
                "x_taps": tables.add(taps * source_step * machine.lanes),
                "w_taps": tables.add(taps * weight_in),
                **reach_fields(tables, np.ones((n_out, 1), bool), machine.column_height),
            }

        linear = {
            **self.end_fields(),
            "weight": self.weight,
            "bias": self.bias,
            "groups": 1,
            "group_weights": co * ci,
            "ci": ci,
            "co": co,
            "ho": 1,
            "wo": 1,
            **self.activation_fields(machine),
            "forward": walk(co, ci, 1, 1, ci),
            "backward": walk(ci, co, y.gradient.plane, ci, 1),
            "fast_forward": -1,
            "fast_backward": -1,
        }
        return {"linear": linear, "scratch": scratch}


class Pooling(Call):
    """The call of a pooling kernel: name is "max_pool" or "avg_pool"."""

    def __init__(self, name, x, y, kernel, stride, padding, count_padding=False):
        self.name, self.x, self.y = name, x, y
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.count_padding = count_padding
        self.deferred = False

    def follow(self, last):
        """Leave the way back to a convolution, which goes it just before its own, map by map."""
        if self.name == "max_pool" and isinstance(last, Convolution) and last.y is self.x:
            self.deferred = True
            last.pool = self

    def window_fields(self):
        """The fields that say how windows lie."""
        (top, _), (left, _) = self.padding
        return {
            "kh": self.kernel[0],
            "kw": self.kernel[1],
            "sh": self.stride[0],
            "sw": self.stride[1],
            "top": top,
            "left": left,
            "count_padding": self.count_padding,
        }

    def fields(self, machine, tables, scratch):
        """The fields of pool_t."""
        (channels, hi, wi), (_, ho, wo) = self.x.shape, self.y.shape
        return {
            **self.end_fields(),
            "channels": channels,
            "hi": hi,
            "wi": wi,
            "ho": ho,
            "wo": wo,
            **self.window_fields(),
            "deferred": self.deferred,
            "disjoint": all(s >= k for s, k in zip(self.stride, self.kernel)),
            "covering": all(
                s <= k and (n_out - 1) * s + k - before >= n_in
                for s, k, n_out, n_in, (before, _) in zip(
                    self.stride, self.kernel, (ho, wo), (hi, wi), self.padding
                )
            ),
        }


class Flattening(Call):
    """The call that brings a vector's own gradient back into an image."""

    name = "flatten"

    def __init__(self, x, y):
        self.x, self.y = x, y

    def fields(self, machine, tables, scratch):
        """The fields of flatten_t."""
        channels, height, width = self.x.shape
        return {
            "dx": self.x.gradient.fields(),
            "dy": self.y.gradient.fields(),
            "channels": channels,
            "hi": height,
            "wi": width,
        }


class Activation(Call):
    """The call of an activation from x to y; dx takes the place of dy."""

    name = "activation"

    def __init__(self, x, y, kind, slope):
        self.x, self.y, self.kind, self.slope = x, y, kind, slope

    def fields(self, machine, tables, scratch):
        """The fields of activation_t."""
        channels, height, width = self.x.shape
        return {
            **self.end_fields(),
            "channels": channels,
            "ho": height,
            "wo": width,
            "kind": machine.activation_kinds[self.kind],
            "slope": self.slope,
        }


class Masking(Call):
    """The call of dropout; number: of this layer among those that draw random numbers."""

    name = "dropout"

    def __init__(self, x, y, rate, number):
        self.x, self.y, self.rate, self.number = x, y, rate, number

    def fields(self, machine, tables, scratch):
        """The fields of dropout_t."""
        channels, height, width = self.y.shape
        return {
            **self.end_fields(),
            "channels": channels,
            "ho": height,
            "wo": width,
            "number": self.number,
            "threshold": round(self.rate * 2**32),
            "scale": 1 / (1 - self.rate),
        }


class Rescaling(Call):
    """The call of y = scale * x + offset; x comes to lie so many rows and columns into y."""

    name = "rescale"

    def __init__(self, x, y, scale=1.0, offset=0.0, top=0, left=0):
        self.x, self.y, self.scale, self.offset = x, y, scale, offset
        self.top, self.left = top, left

    def fields(self, machine, tables, scratch):
        """The fields of rescale_t."""
        channels, height, width = self.x.shape
        fields = self.end_fields()
        for end in (fields["y"], fields["dy"]):
            end["offset"] += self.top * end["row"] + self.left
        return {
            **fields,
            "channels": channels,
            "ho": height,
            "wo": width,
            "scale": self.scale,
            "offset": self.offset,
        }


class LayerNormalization(Call):
    """The call of layer normalisation; gamma, beta: places in the parameter vector, -1 for none."""

    name = "layer_norm"

    def __init__(self, x, y, gamma, beta, epsilon):
        self.x, self.y, self.gamma, self.beta, self.epsilon = x, y, gamma, beta, epsilon

    def fields(self, machine, tables, scratch):
        """The fields of layer_norm_t."""
        channels, height, width = self.x.shape
        return {
            **self.end_fields(),
            "channels": channels,
            "ho": height,
            "wo": width,
            "gamma": self.gamma,
            "beta": self.beta,
            "epsilon": self.epsilon,
        }


class BatchNormalization(Call):
    """One of the two calls of batch normalisation: name is "moments" or "normalize".

    gamma, beta: places in the parameter vector, -1 for none; running: place of the running moments;
    moments: place of this layer's among those that a block keeps, -1 for "normalize" alone, which then
    takes the running moments in training too.
    """

    def __init__(self, name, x, y, gamma, beta, running, moments, epsilon, momentum):
        self.name, self.x, self.y = name, x, y
        self.gamma, self.beta, self.running, self.moments = gamma, beta, running, moments
        self.epsilon, self.momentum = epsilon, momentum
        self.activation = NO_ACTIVATION if name == "normalize" else None

    def fields(self, machine, tables, scratch):
        """The fields of batch_norm_t."""
        channels, height, width = self.x.shape
        return {
            **self.end_fields(),
            "channels": channels,
            "ho": height,
            "wo": width,
            "gamma": self.gamma,
            "beta": self.beta,
            "running": self.running,
            "moments": self.moments,
            "epsilon": self.epsilon,
            "momentum": self.momentum,
            **(self.activation_fields(machine) if self.activation else {"activation": 0, "slope": 0}),
        }
