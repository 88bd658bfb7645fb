"""The plan: the tensors and kernel calls of a network, and the offset of each in a block's memory."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skconvnet._lowering.calls import (
    NO_ACTIVATION,
    NOT_IN_PLACE,
    ActivationCall,
    Call,
    CopyCall,
    FlattenCall,
    FunctionCall,
)
from skconvnet._lowering.memory import Buffer, FlatBuffer, ProgramTables, Tensor, check_size
from skconvnet._lowering.work import Work
from skconvnet._types import Array, Fields, Shape

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine, Program


class Plan:
    """Collects the tensors and kernel calls of a network and lays them out in memory.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) or (features,).
    input_gradient : bool
        Whether the gradient to the input is required.
    training : bool
        Whether to make the calls that only training needs.

    Attributes
    ----------
    frozen : bool
        Whether the layer that is lowered next trains nothing and makes the calls of prediction.
    persist_values : bool
        Whether blocks keep all values between the forward and the backward pass, which are two calls then.
    """

    def __init__(self, input_shape: Shape, input_gradient: bool, training: bool) -> None:
        self._training, self.frozen, self.persist_values = training, False, False
        self.input = Tensor(input_shape, needs_gradient=input_gradient)
        self._tensors = [self.input]
        self._n_moments = self._n_streams = 0
        self._persistent: list[Tensor] = []
        self.calls: list[Any] = []

    @property
    def training(self) -> bool:
        """Whether to make the calls that only training needs."""
        return self._training and not self.frozen

    def add_tensor(self, shape: Shape, source: Tensor, trains: bool = False) -> Tensor:
        """Add the output of a layer for a source; trains: it has parameters, or a gradient, of its own."""
        trains = trains and not self.frozen
        tensor = Tensor(shape, needs_gradient=trains or source.needs_gradient)
        self._tensors.append(tensor)
        return tensor

    def add_like(self, source: Tensor, trains: bool = False) -> Tensor:
        """Add the output of an elementwise layer: dx overwrites dy."""
        tensor = self.add_tensor(source.layer_shape, source, trains)
        if source.needs_gradient:
            tensor.gradient = source.gradient
        return tensor

    def flatten(self, tensor: Tensor) -> Tensor:
        """Return a tensor as a vector."""
        if isinstance(tensor.value, FlatBuffer):
            return tensor
        if tensor.shared:  # with calls that may need columns of padding, which a vector cannot have
            shared, tensor = tensor, self.add_tensor(tensor.layer_shape, tensor)
            self.add_call(CopyCall(shared, tensor))
        flat = tensor.flatten()
        if isinstance(flat.gradient, Buffer):
            self._tensors.append(flat)
            self.add_call(FlattenCall(tensor, flat))
        return flat

    def add_call(self, call: Call) -> None:
        """Append a kernel call."""
        if self.calls:
            call.fuse_with(self.calls[-1])
        self.calls.append(call)

    def allocate_moments(self, n: int) -> int:
        """Reserve n moments of a block and return their offset."""
        self._n_moments += n
        return self._n_moments - n

    def allocate_stream(self) -> int:
        """Return the number of a new stream of random numbers, from 0."""
        self._n_streams += 1
        return self._n_streams - 1

    def persist_gradient(self, tensor: Tensor) -> None:
        """Keep this tensor's gradient across synchronization points."""
        self._persistent.append(tensor)

    def activate(self, tensor: Tensor, kind: str, slope: float = 0.0) -> Tensor:
        """Apply an activation, within the call that has just computed the tensor if possible."""
        last = self.calls[-1] if self.calls else None
        if kind not in NOT_IN_PLACE and last and last.activation == NO_ACTIVATION and last.y is tensor:
            last.activation = kind, slope
            return tensor
        y = self.add_like(tensor)
        self.add_call(ActivationCall(tensor, y, kind, slope))
        return y

    def fold(self, tensor: Tensor, norm: Call) -> bool:
        """Let the call that has just computed the tensor normalise it in prediction, if it can."""
        last = self.calls[-1] if self.calls and not self._training else None
        return last is not None and last.y is tensor and last.fold(norm)

    def call_function(
        self, tensor: Tensor, function: Callable[[Any], Array], derivative: Callable[[Any], Array]
    ) -> Tensor:
        """Apply a function of Python's to every element; both return an array like theirs, C-contiguous."""
        y = self.add_like(tensor)
        self.add_call(FunctionCall(tensor, y, function, derivative))
        return y

    def compile(self, engine: "Engine", output: Tensor, n_params: int) -> "Program":
        """Assign every buffer its offset, values first, and make the engine's program."""
        sizes = {"n_params": n_params, "n_moments": self._n_moments, **self._allocate(output)}
        check_size(sizes["training_vectors"])
        shared = sizes["training_vectors"]
        sizes["training_vectors"] += max((call.count_shared(engine) for call in self.calls), default=0)
        sizes["scratch_vectors"] = max((call.count_scratch(engine) for call in self.calls), default=0)
        sizes["work"] = sum(call.count_work() for call in self.calls)
        tables = ProgramTables(engine, sizes["training_vectors"], shared)
        calls = [(call.name, call.fields(tables)) for call in self.calls]
        sizes["n_transformed_weights"] = tables.n_transformed_weights
        return engine.Program(
            calls, tables.winograd_plans, tables.join(), self.input.fields(), output.fields(), sizes
        )

    def list_tasks(self, engine: "Engine") -> list[list[Work]]:
        """Estimate the work of all tasks of a block, forward and backward; the plan is compiled."""
        tables = ProgramTables(engine)
        return [task for call in self.calls for task in call.list_tasks(engine, call.fields(tables))]

    def count_synchronizations(self) -> int:
        """Return how many times threads wait for each other in a step, even if they share no block."""
        return 3 + 4 * sum(call.name == "moments" for call in self.calls)

    def _allocate(self, output: Tensor) -> Fields:
        """Assign every buffer its offset and return the sizes of a block's memory, without scratch."""
        end = 0
        for value in dict.fromkeys(tensor.value for tensor in self._tensors):  # tensors may share one
            end = value.allocate(end)
        if not self._training:  # a loss writes its gradient, even if only its value is required
            end = output.gradient.memory.allocate(end)
        prediction_vectors = end
        # what blocks keep across synchronization points: all values, and the persistent gradients
        synchronized = [call.y for call in self.calls if call.name == "moments"]
        for tensor in synchronized + self._persistent:
            buffer = tensor.gradient.memory
            if tensor.needs_gradient and buffer.offset < 0:
                end = buffer.allocate(end)
        persistent_vectors = end if synchronized or self.persist_values else 0
        for tensor in self._tensors:
            # the last tensor takes the gradient of the loss, even if no layer before requires it
            required = tensor.needs_gradient or tensor is self._tensors[-1]
            if required and tensor.gradient.fields()["offset"] < 0:
                end = tensor.gradient.allocate(end)
        return {
            "prediction_vectors": prediction_vectors,
            "persistent_vectors": persistent_vectors,
            "training_vectors": end,
        }
