"""The calls at the two ends of a residual connection (residual.pxd)."""

from skconvnet._lowering.calls import NO_ACTIVATION, Call
from skconvnet._lowering.memory import ProgramTables, Tensor
from skconvnet._types import Fields


class SplitCall(Call):
    """The call that copies x, which others read as well, to y, which may be changed in place."""

    name = "split"
    splits = True

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of split_t."""
        return self.map_fields()


class AdditionCall(Call):
    """The call that adds z to x; x and y share their gradient."""

    name = "addition"
    activation = NO_ACTIVATION

    def __init__(self, x: Tensor, z: Tensor, y: Tensor) -> None:
        self.x, self.z, self.y = x, z, y

    def fields(self, tables: ProgramTables) -> Fields:
        """The fields of addition_t."""
        return {
            **self.map_fields(),
            "z": self.z.value.fields(),
            "dz": self.z.gradient.fields(),
            **self.activation_fields(tables.engine),
        }
