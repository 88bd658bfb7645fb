"""The calls at the two ends of branches, which read one tensor and are merged into another (branches.pxd)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from skconvnet._lowering.calls import ELEMENT_WORK, NO_ACTIVATION, Call, RescalingCall
from skconvnet._lowering.memory import ProgramTables, Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._lowering.work import Work
from skconvnet._types import Fields, Shape

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine


class SplitCall(Call):
    """The call from x, which others read as well, to y, which has its values and a gradient of its own."""

    name = "split"

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of split_t."""
        channels, height, width = self.x.shape
        dx, dy = self.x.gradient.fields(), self.y.gradient.fields()
        return {"dx": dx, "dy": dy, "channels": channels, "ho": height, "wo": width}


class MergeCall(Call):
    """The call that adds z to x, multiplies them or takes the larger; dx overwrites dy.

    A z of one pixel multiplies the whole channels of a larger x.
    """

    name = "merge"
    activation = NO_ACTIVATION

    def __init__(self, x: Tensor, z: Tensor, y: Tensor, kind: str) -> None:
        self.x, self.z, self.y, self.kind = x, z, y, kind
        self._broadcast = z.shape != x.shape

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of merge_t."""
        return {
            **self.map_fields(),
            "z": self.z.value.fields(),
            "dz": self.z.gradient.fields(),
            "kind": tables.engine.merge_kinds[self.kind],
            "broadcast": self._broadcast,
            **self.activation_fields(tables.engine),
        }

    def list_tasks(self, engine: "Engine", fields: Fields) -> list[list[Work]]:
        """Estimate the work of the tasks of a block, forward and backward; fields: of the call."""
        forward, backward = super().list_tasks(engine, fields)
        if self._broadcast:  # threads share channels, not rows
            channels, height, width = self.y.shape
            backward = [Work(ELEMENT_WORK * height * width, channels)]
        return [forward, backward]


def split(plan: Plan, x: Tensor) -> Tensor:
    """Return x for one of its readers, with a gradient of its own: no call changes values that others read.

    The reader of x itself must be lowered after all others: it writes dx, and splits add to dx.
    """
    y = plan.add_tensor(x.layer_shape, x)
    y.value, x.shared, y.shared = x.value, True, True
    plan.add_call(SplitCall(x, y))
    return y


def merge(plan: Plan, ends: Sequence[Tensor], shape: Shape, kind: str) -> Tensor:
    """Add the calls that merge the outputs of branches into a tensor of this shape, which one of them has.

    kind: "concat", "add", "multiply", "average" or "max".
    """
    if kind == "concat":
        return _concatenate(plan, ends, shape)
    y = next(end for end in ends if end.layer_shape == shape)
    for z in [end for end in ends if end is not y]:
        x, y = y, plan.add_like(y, trains=z.needs_gradient)
        plan.add_call(MergeCall(x, z, y, "add" if kind == "average" else kind))
    if kind == "average":
        x, y = y, plan.add_like(y)
        plan.add_call(RescalingCall(x, y, 1 / len(ends)))
    return y


def _concatenate(plan: Plan, ends: Sequence[Tensor], shape: Shape) -> Tensor:
    """Add the calls that copy tensors to the channels of one, in order."""
    y = plan.add_tensor(shape, ends[0], trains=any(end.needs_gradient for end in ends))
    channel = 0
    for end in ends:
        plan.add_call(RescalingCall(end, y, corner=(channel, 0, 0)))
        channel += end.shape[0]
    return y
