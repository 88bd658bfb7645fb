"""The calls of batch and layer normalisation (batch_norm.pxd, layer_norm.pxd)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from skconvnet._lowering.calls import ELEMENT_WORK, NO_ACTIVATION, Call
from skconvnet._lowering.memory import ProgramTables, Tensor
from skconvnet._lowering.work import Work
from skconvnet._types import Fields

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine


class BatchNormCall(Call):
    """One of the two calls of batch normalisation: name is "moments" or "normalize".

    offsets: of "weight", "bias" (or without) and "running_mean" in the parameter vector, where
    "running_var" comes next; moments: offset of this layer's moments in a block's; -1 for a
    "normalize" without "moments" (a frozen layer), which uses the running moments in training too.
    """

    def __init__(
        self,
        name: str,
        x: Tensor,
        y: Tensor,
        offsets: Mapping[str, int],
        moments: int = -1,
        epsilon: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        self.name, self.x, self.y = name, x, y
        self.offsets, self.moments = offsets, moments
        self.epsilon, self.momentum = epsilon, momentum
        self.activation = NO_ACTIVATION if name == "normalize" else None

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """Estimate the work of the tasks of a block, forward and backward; fields: of the call."""
        channels, height, width = self.y.shape
        work = Work(ELEMENT_WORK * height * width, channels)
        return [[work], [work]] if self.name == "moments" else super().list_tasks(engine, fields)

    def stats_fields(self) -> Fields:
        """The fields of stats_t."""
        return {
            "channels": self.y.shape[0],
            "gamma": self.offsets.get("weight", -1),
            "beta": self.offsets.get("bias", -1),
            "running": self.offsets["running_mean"],
            "epsilon": self.epsilon,
        }

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of batch_norm_t."""
        return {
            **self.map_fields(),
            "stats": self.stats_fields(),
            "moments": self.moments,
            "momentum": self.momentum,
            **self.activation_fields(tables.engine),
        }


class LayerNormCall(Call):
    """The call of layer normalisation; offsets: of "weight" and "bias" in the parameters, or without."""

    name = "layer_norm"

    def __init__(self, x: Tensor, y: Tensor, offsets: Mapping[str, int], epsilon: float) -> None:
        self.x, self.y, self.offsets, self.epsilon = x, y, offsets, epsilon

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """Estimate the work of the tasks of a block, forward and backward; fields: of the call."""
        forward, (backward,) = super().list_tasks(engine, fields)
        return [forward, [Work(backward.total, 1)]]

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of layer_norm_t."""
        return {
            **self.map_fields(),
            "gamma": self.offsets.get("weight", -1),
            "beta": self.offsets.get("bias", -1),
            "epsilon": self.epsilon,
        }
