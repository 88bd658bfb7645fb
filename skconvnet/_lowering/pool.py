"""The calls of pooling (pool.pxd)."""

from skconvnet._lowering.calls import Call, Window
from skconvnet._lowering.conv import ConvCall
from skconvnet._lowering.memory import ProgramTables, Tensor
from skconvnet._types import Fields


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
            "count_padding": self.count_padding,
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
