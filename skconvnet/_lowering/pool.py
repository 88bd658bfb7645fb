"""The calls of pooling and upsampling (pool.pxd)."""

from typing import TYPE_CHECKING

from skconvnet._lowering.calls import ELEMENT_WORK, Call, Window
from skconvnet._lowering.conv import ConvCall
from skconvnet._lowering.memory import ProgramTables, Tensor
from skconvnet._lowering.work import Work
from skconvnet._types import Fields, Pair

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine


class PoolCall(Call):
    """The call of a pooling kernel: name is "max_pool" or "avg_pool".

    A maximum pooling right after a convolution leaves its backward pass to it: then its name becomes
    "max_pool_of_conv", and that of the convolution "pooled_conv".
    """

    def __init__(self, name: str, x: Tensor, y: Tensor, window: Window, count_padding: bool = False) -> None:
        self.name, self.x, self.y, self.window = name, x, y, window
        self.count_padding = count_padding

    def fuse_with(self, last: Call) -> None:
        """Leave the backward pass to a convolution, which runs it channel by channel before its own."""
        if self.name == "max_pool" and isinstance(last, ConvCall) and last.y is self.x:
            self.name = "max_pool_of_conv"
            last.fuse_pool(self)

    def window_fields(self) -> Fields:
        """The fields for the windows."""
        (kh, kw), (sh, sw), (top, left) = self.window.kernel, self.window.stride, self.window.before
        return {
            "kh": kh,
            "kw": kw,
            "sh": sh,
            "sw": sw,
            "top": top,
            "left": left,
            "divisor": kh * kw if self.count_padding else 0,
        }

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of pool_t."""
        (channels, hi, wi), (_, ho, wo) = self.x.shape, self.y.shape
        kernel, stride = self.window.kernel, self.window.stride
        return {
            **self.end_fields(),
            "channels": channels,
            "hi": hi,
            "wi": wi,
            "ho": ho,
            "wo": wo,
            **self.window_fields(),
            "disjoint": all(s >= k for s, k in zip(stride, kernel)),
            "covering": all(
                s <= k and (n_out - 1) * s + k - before >= n_in
                for s, k, n_out, n_in, before in zip(stride, kernel, (ho, wo), (hi, wi), self.window.before)
            ),
        }


class UpSampleCall(Call):
    """The call that repeats every pixel of x in a window of y; size: of the windows."""

    name = "upsample"

    def __init__(self, x: Tensor, y: Tensor, size: Pair) -> None:
        self.x, self.y, self.size = x, y, size

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """Estimate the work of the tasks of a block, forward and backward; fields: of the call."""
        (channels, hi, _), (_, ho, wo) = self.x.shape, self.y.shape
        forward, backward = (
            Work(ELEMENT_WORK * ho * wo, channels),
            Work(ELEMENT_WORK * ho // hi * wo, channels * hi),
        )
        return [[forward], [backward]]

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of pool_t: of an average from y to x, in which gradients and values change places."""
        (channels, ho, wo), (_, hi, wi) = self.x.shape, self.y.shape
        kh, kw = self.size
        return {
            "x": self.y.gradient.fields(),
            "dx": self.y.value.fields(),
            "y": self.x.gradient.fields(),
            "dy": self.x.value.fields(),
            "channels": channels,
            "hi": hi,
            "wi": wi,
            "ho": ho,
            "wo": wo,
            "kh": kh,
            "kw": kw,
            "sh": kh,
            "sw": kw,
            "top": 0,
            "left": 0,
            "divisor": 1,
            "disjoint": True,
            "covering": True,
        }
