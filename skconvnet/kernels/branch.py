"""The calls of a network that branches: see branch.pxd."""

from types import ModuleType

from skconvnet._types import Fields
from skconvnet.kernels.calls import NO_ACTIVATION, Call
from skconvnet.kernels.memory import NOWHERE, Image, Tables


class Branch(Call):
    """The call of a kernel over whole images."""

    z: Image | None = None
    activation: tuple[str, float] | None = NO_ACTIVATION

    def fields(self, machine: ModuleType, tables: Tables, scratch: int) -> Fields:
        """The fields of branch_t."""
        return {
            **self.map_fields(),
            "z": self.z.value.fields() if self.z else NOWHERE,
            "dz": self.z.gradient.fields() if self.z else NOWHERE,
            **self.activation_fields(machine),
        }


class Fork(Branch):
    """The call that copies x, which others read as well, to y, which may be changed in place."""

    name = "fork"
    activation = None

    def __init__(self, x: Image, y: Image) -> None:
        self.x, self.y = x, y

    def activation_fields(self, machine: ModuleType) -> Fields:
        """It has none."""
        return {"activation": 0, "slope": 0}


class Addition(Branch):
    """The call that adds z to x; x and y share their gradient."""

    name = "addition"

    def __init__(self, x: Image, z: Image, y: Image) -> None:
        self.x, self.z, self.y = x, z, y
