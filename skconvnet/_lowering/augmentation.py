"""The calls that change images at random in training; stream: of random numbers, one for each such call."""

from math import radians

from skconvnet._lowering.calls import Call
from skconvnet._lowering.memory import ProgramTables, Tensor
from skconvnet._types import Fields


class WarpCall(Call):
    """The call of an affine map: see warp.pxd.

    flip, mirror: whether rows and columns may run backwards; alternating: whether they do so in every second
    epoch; tops, lefts: ranges of the row and column of x that output (0, 0) may be read from; reflect:
    whether x is mirrored beyond its border; degrees: the largest angle.
    """

    name = "warp"

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        stream: int,
        *,
        flip: bool = False,
        mirror: bool = False,
        alternating: bool = False,
        tops: range = range(1),
        lefts: range = range(1),
        reflect: bool = False,
        degrees: float = 0.0,
    ) -> None:
        self.x, self.y, self.stream = x, y, stream
        self.flip, self.mirror, self.alternating = flip, mirror, alternating
        self.tops, self.lefts, self.reflect = tops, lefts, reflect
        self.degrees = degrees

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of warp_t."""
        (channels, hi, wi), (_, ho, wo) = self.x.shape, self.y.shape
        return {
            **self.end_fields(),
            "channels": channels,
            "hi": hi,
            "wi": wi,
            "ho": ho,
            "wo": wo,
            "stream": self.stream,
            "flips": 1 + self.flip,
            "mirrors": 1 + self.mirror,
            "alternating": self.alternating,
            "top": self.tops[0],
            "left": self.lefts[0],
            "tops": len(self.tops),
            "lefts": len(self.lefts),
            "reflect": self.reflect,
            "angle": radians(self.degrees),
        }


class ErasingCall(Call):
    """The call of random erasing; size: the least and the largest fraction of the image's area."""

    name = "erasing"

    def __init__(
        self, x: Tensor, y: Tensor, stream: int, size: tuple[float, float], aspect: float, probability: float
    ) -> None:
        self.x, self.y, self.stream = x, y, stream
        self.size, self.aspect, self.probability = size, aspect, probability

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of erasing_t."""
        smallest, largest = self.size
        return {
            **self.map_fields(),
            "stream": self.stream,
            "probability": self.probability,
            "smallest": smallest,
            "largest": largest,
            "aspect": self.aspect,
        }


class GaussianNoiseCall(Call):
    """The call of noise of the normal distribution."""

    name = "gaussian"

    def __init__(self, x: Tensor, y: Tensor, stream: int, stddev: float) -> None:
        self.x, self.y, self.stream, self.stddev = x, y, stream, stddev

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of gaussian_t."""
        return {**self.map_fields(), "stream": self.stream, "stddev": self.stddev}
