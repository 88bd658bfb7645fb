"""Kernel calls: from sizes to the places and index tables that a machine walks over.

A plan first makes its calls, which ask for the columns of zeros that they read beside their images
(a convolution's padding); then it lays out its memory; then every call fills in its fields.
"""

from types import ModuleType
from typing import Any

import numpy as np

from skconvnet._types import Array, Fields, Pair, Sides
from skconvnet.kernels.memory import NOWHERE, Image, Tables
from skconvnet.kernels.walk import (
    backward_phases,
    count_side_columns,
    cut_into_bands,
    forward_phases,
    patch_fields,
    reach_fields,
    walk_fields,
)
from skconvnet.kernels.winograd import NO_TERMS, Winograd

# The fields of pool_t for no pooling.
NO_POOL = {
    **dict.fromkeys(["channels", "hi", "wi", "ho", "wo", "kh", "kw", "sh", "sw", "top", "left"], 0),
    **dict.fromkeys(["count_padding", "disjoint", "covering", "deferred"], 0),
    **dict.fromkeys(("x", "y", "dx", "dy"), NOWHERE),
}

# The activation of a call that has none yet; those whose slope does not follow from a value alone,
# which a call that makes values therefore cannot apply in place.
NO_ACTIVATION = "identity", 0.0
NOT_IN_PLACE = "arctan", "gelu", "softmax", "log_softmax"


class Call:
    """A kernel call: `name` is the machine's word for it.

    One that makes values y, and says so by an `activation` (kind, slope), may activate them itself.
    """

    name: str
    x: Any  # an image, or a plane
    y: Any
    activation: tuple[str, float] | None = None

    def follow(self, last: "Call") -> None:
        """Share work with the call before, if that saves any."""

    def list_ways(
        self, machine: ModuleType, tables: Tables, scratch: int, n_ways: int, n_products: int
    ) -> tuple[list[Fields], int]:
        """The fields of winograd_t for the ways with fewer products, and how many products there are then."""
        return [], n_products

    def end_fields(self) -> Fields:
        """The fields that say where input, output and their gradients lie."""
        return {
            "x": self.x.value.fields(),
            "y": self.y.value.fields(),
            "dx": self.x.gradient.fields(),
            "dy": self.y.gradient.fields(),
        }

    def map_fields(self) -> Fields:
        """The fields of a kernel that goes over x number by number: its ends, and the size of x."""
        channels, height, width = self.x.shape
        return {**self.end_fields(), "channels": channels, "ho": height, "wo": width}

    def activation_fields(self, machine: ModuleType) -> Fields:
        """The fields that say which activation follows."""
        assert self.activation, f"{self.name} has no activation"
        kind, slope = self.activation
        return {"activation": machine.activation_kinds[kind], "slope": slope}

    def count_scratch(self, machine: ModuleType) -> int:
        """Lane vectors of scratch that the kernel wants when it runs backward."""
        return 0

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of the kernel's struct, once all buffers are placed."""
        raise NotImplementedError


class Convolution(Call):
    """The call of a convolution.

    kernel, stride, dilation: pairs; padding: ((top, bottom), (left, right)); weight, bias: places
    in the parameter vector, bias -1 for none; connections: bool array (filters, channels) of a group;
    there are as many groups as x has times these channels.
    """

    name = "conv"
    activation = NO_ACTIVATION

    def __init__(
        self,
        x: Image,
        y: Image,
        weight: int,
        bias: int,
        kernel: Pair,
        stride: Pair,
        dilation: Pair,
        padding: Sides,
        connections: Array,
    ) -> None:
        self.x, self.y, self.weight, self.bias = x, y, weight, bias
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.before = padding[0][0], padding[1][0]
        self.connections = connections
        self.pool: Pooling | None = None
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
        forward = self.fast.get("forward")
        self.terms = forward if forward and forward.is_exact_for_weights() else None
        if "backward" in self.fast:
            y.gradient.need(*self.fast["backward"].count_side_columns())

    def count_scratch(self, machine: ModuleType) -> int:
        """Lane vectors for transformed images and the sums of their products."""
        counts = [way.count_scratch() for way in self.fast.values()]
        if self.terms:
            counts.append(self.terms.place_terms(machine, 0)[-1])
        return max(counts, default=0)

    def list_ways(
        self, machine: ModuleType, tables: Tables, scratch: int, n_ways: int, n_products: int
    ) -> tuple[list[Fields], int]:
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

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
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
        if self.terms:
            patches, terms = self.terms.term_fields(machine, tables, scratch, rows)
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

    def __init__(self, x: Image, y: Image, weight: int, bias: int) -> None:
        self.x, self.y, self.weight, self.bias = x, y, weight, bias

    def count_scratch(self, machine: ModuleType) -> int:
        """Lane vectors for the input, transposed."""
        return -(-self.x.shape[0] // machine.lanes) * machine.lanes

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of dense_t."""
        y, ci, co = self.y, self.x.shape[0], self.y.shape[0]

        def walk(n_out: int, n_in: int, source_step: int, weight_in: int, weight_out: int) -> Fields:
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

    def __init__(
        self,
        name: str,
        x: Image,
        y: Image,
        kernel: Pair,
        stride: Pair,
        padding: Sides,
        count_padding: bool = False,
    ) -> None:
        self.name, self.x, self.y = name, x, y
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.count_padding = count_padding
        self.deferred = False

    def follow(self, last: "Call") -> None:
        """Leave the way back to a convolution, which goes it just before its own, map by map."""
        if self.name == "max_pool" and isinstance(last, Convolution) and last.y is self.x:
            self.deferred = True
            last.pool = self

    def window_fields(self) -> Fields:
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

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
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

    def __init__(self, x: Image, y: Image) -> None:
        self.x, self.y = x, y

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
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

    def __init__(self, x: Image, y: Image, kind: str, slope: float) -> None:
        self.x, self.y, self.kind, self.slope = x, y, kind, slope

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of activation_t."""
        return {
            **self.map_fields(),
            "kind": machine.activation_kinds[self.kind],
            "slope": self.slope,
        }


class Masking(Call):
    """The call of dropout; number: of this layer among those that draw random numbers."""

    name = "dropout"

    def __init__(self, x: Image, y: Image, rate: float, number: int) -> None:
        self.x, self.y, self.rate, self.number = x, y, rate, number

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of dropout_t."""
        return {
            **self.map_fields(),
            "number": self.number,
            "threshold": round(self.rate * 2**32),
            "scale": 1 / (1 - self.rate),
        }


class Rescaling(Call):
    """The call of y = scale * x + offset; x comes to lie so many rows and columns into y."""

    name = "rescale"

    def __init__(
        self, x: Image, y: Image, scale: float = 1.0, offset: float = 0.0, top: int = 0, left: int = 0
    ) -> None:
        self.x, self.y, self.scale, self.offset = x, y, scale, offset
        self.top, self.left = top, left

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of rescale_t."""
        fields = self.map_fields()
        for end in (fields["y"], fields["dy"]):
            end["offset"] += self.top * end["row"] + self.left
        return {
            **fields,
            "scale": self.scale,
            "offset": self.offset,
        }


class LayerNormalization(Call):
    """The call of layer normalisation; gamma, beta: places in the parameter vector, -1 for none."""

    name = "layer_norm"

    def __init__(self, x: Image, y: Image, gamma: int, beta: int, epsilon: float) -> None:
        self.x, self.y, self.gamma, self.beta, self.epsilon = x, y, gamma, beta, epsilon

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of layer_norm_t."""
        return {
            **self.map_fields(),
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

    def __init__(
        self,
        name: str,
        x: Image,
        y: Image,
        gamma: int,
        beta: int,
        running: int,
        moments: int,
        epsilon: float,
        momentum: float,
    ) -> None:
        self.name, self.x, self.y = name, x, y
        self.gamma, self.beta, self.running, self.moments = gamma, beta, running, moments
        self.epsilon, self.momentum = epsilon, momentum
        self.activation = NO_ACTIVATION if name == "normalize" else None

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of batch_norm_t."""
        return {
            **self.map_fields(),
            "gamma": self.gamma,
            "beta": self.beta,
            "running": self.running,
            "moments": self.moments,
            "epsilon": self.epsilon,
            "momentum": self.momentum,
            **(self.activation_fields(machine) if self.activation else {"activation": 0, "slope": 0}),
        }
