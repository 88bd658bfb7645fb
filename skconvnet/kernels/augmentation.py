"""The calls that change images at random in training; number: of a call among those that draw numbers."""

from math import radians
from types import ModuleType

from skconvnet._types import Fields
from skconvnet.kernels.calls import Call
from skconvnet.kernels.memory import Image, Tables


class Warp(Call):
    """The call of an affine map: see warp.pxd.

    flip, mirror: whether rows and columns may run backwards; tops, lefts: ranges of the row and column
    of x that output (0, 0) may be read from; degrees: the largest angle.
    """

    name = "warp"

    def __init__(
        self,
        x: Image,
        y: Image,
        number: int,
        flip: bool = False,
        mirror: bool = False,
        tops: range = range(1),
        lefts: range = range(1),
        degrees: float = 0.0,
    ) -> None:
        self.x, self.y, self.number = x, y, number
        self.flip, self.mirror = flip, mirror
        self.tops, self.lefts = tops, lefts
        self.degrees = degrees

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of warp_t."""
        (channels, hi, wi), (_, ho, wo) = self.x.shape, self.y.shape
        return {
            **self.end_fields(),
            "channels": channels,
            "hi": hi,
            "wi": wi,
            "ho": ho,
            "wo": wo,
            "number": self.number,
            "flips": 1 + self.flip,
            "mirrors": 1 + self.mirror,
            "top": self.tops[0],
            "left": self.lefts[0],
            "tops": len(self.tops),
            "lefts": len(self.lefts),
            "angle": radians(self.degrees),
        }


class Erasing(Call):
    """The call of random erasing; size: the least and the largest share of the area."""

    name = "erasing"

    def __init__(
        self, x: Image, y: Image, number: int, size: tuple[float, float], aspect: float, probability: float
    ) -> None:
        self.x, self.y, self.number = x, y, number
        self.size, self.aspect, self.probability = size, aspect, probability

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of erasing_t."""
        smallest, largest = self.size
        return {
            **self.map_fields(),
            "number": self.number,
            "probability": self.probability,
            "smallest": smallest,
            "largest": largest,
            "aspect": self.aspect,
        }


class Noise(Call):
    """The call of noise of the normal distribution."""

    name = "gaussian"

    def __init__(self, x: Image, y: Image, number: int, stddev: float) -> None:
        self.x, self.y, self.number, self.stddev = x, y, number, stddev

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of gaussian_t."""
        return {**self.map_fields(), "number": self.number, "stddev": self.stddev}
