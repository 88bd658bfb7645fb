"""The plan: the images and kernel calls of a network, and where each lies in a block's memory."""

from types import ModuleType
from typing import Any

from skconvnet._types import Shape
from skconvnet.kernels.calls import NO_ACTIVATION, NOT_IN_PLACE, Activation, Call, Flattening
from skconvnet.kernels.memory import Buffer, FlatBuffer, Image, Tables


class Plan:
    """Collects the images and kernel calls of a network and lays them out in memory.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) or (features,).
    input_gradient : bool
        Whether the gradient to the input is wanted.
    training : bool
        Whether to make the calls that only training needs.

    Attributes
    ----------
    frozen : bool
        Whether the layer that is lowered next trains nothing and makes the calls of prediction.
    """

    def __init__(self, input_shape: Shape, input_gradient: bool, training: bool) -> None:
        self._training, self.frozen = training, False
        self.input = Image(input_shape, needs_gradient=input_gradient)
        self._images = [self.input]
        self._n_moments = self._n_draws = 0
        self._crossing = []
        self.calls = []

    @property
    def training(self) -> bool:
        """Whether to make the calls that only training needs."""
        return self._training and not self.frozen

    def add_image(self, shape: Shape, source: Image, trains: bool = False) -> Image:
        """Declare what a layer makes from a source; trains: it has parameters, or a gradient, of its own."""
        trains = trains and not self.frozen
        image = Image(shape, needs_gradient=trains or source.needs_gradient)
        self._images.append(image)
        return image

    def add_twin(self, source: Image, trains: bool = False) -> Image:
        """Declare what a layer makes of a source number by number: dx takes the place of dy."""
        image = self.add_image(source.layer_shape, source, trains)
        if source.needs_gradient:
            image.gradient = source.gradient
        return image

    def flatten(self, image: Image) -> Image:
        """See an image as a vector."""
        if isinstance(image.value, FlatBuffer):
            return image
        flat = image.flatten()
        if isinstance(flat.gradient, Buffer):
            self._images.append(flat)
            self.add_call(Flattening(image, flat))
        return flat

    def add_call(self, call: Call) -> None:
        """Append a kernel call."""
        if self.calls:
            call.follow(self.calls[-1])
        self.calls.append(call)

    def add_moments(self, n: int) -> int:
        """Ask for room for n moments of a block, and give its place."""
        self._n_moments += n
        return self._n_moments - n

    def number_draw(self) -> int:
        """Number a call that draws random numbers, from 0."""
        self._n_draws += 1
        return self._n_draws - 1

    def keep_gradient(self, image: Image) -> None:
        """Have an image's gradient outlast meetings of the blocks between who writes and who reads it."""
        self._crossing.append(image)

    def activate(self, image: Image, kind: str, slope: float = 0.0) -> Image:
        """Apply an activation, in the call that has just made the image if it can, and give the result."""
        last = self.calls[-1] if self.calls else None
        may = kind not in NOT_IN_PLACE
        if may and last and last.activation == NO_ACTIVATION and last.y is image:
            last.activation = kind, slope
            return image
        y = self.add_twin(image)
        self.add_call(Activation(image, y, kind, slope))
        return y

    def compile(self, machine: ModuleType, output: Image, n_params: int) -> Any:
        """Give every buffer its place, values first, and make the machine's program."""
        predicting_lanes = 0
        for image in self._images:
            predicting_lanes = image.value.place(predicting_lanes)
        if not self._training:  # a loss writes its gradient, even if only its value is wanted
            buffer = getattr(output.gradient, "base", output.gradient)
            predicting_lanes = buffer.place(predicting_lanes)
        # what blocks keep while they meet: all values, and the gradients that cross a meeting
        scratch = predicting_lanes
        meetings = [call.y for call in self.calls if call.name == "moments"]
        for image in meetings + self._crossing:
            buffer = getattr(image.gradient, "base", image.gradient)
            if image.needs_gradient and buffer.offset < 0:
                scratch = buffer.place(scratch)
        kept_lanes = scratch if meetings else 0
        for image in self._images:
            # the last image takes the loss's gradient even if nobody below wants it
            wanted = image.needs_gradient or image is self._images[-1]
            if wanted and image.gradient.fields()["offset"] < 0:
                scratch = image.gradient.place(scratch)
        training_lanes = scratch + max((c.count_scratch(machine) for c in self.calls), default=0)
        tables, ways, n_products = Tables(), [], 0
        for call in self.calls:
            more, n_products = call.list_ways(machine, tables, scratch, len(ways), n_products)
            ways += more
        calls = [(call.name, call.fields(machine, tables, scratch)) for call in self.calls]
        return machine.Program(
            calls,
            tables.join(),
            self.input.fields(),
            output.fields(),
            n_params,
            ways,
            n_products,
            self._n_moments,
            kept_lanes,
            predicting_lanes,
            training_lanes,
        )
