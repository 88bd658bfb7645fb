"""The network: layers in their places, one flat parameter vector, the programs compiled from both."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from skconvnet import kernels
from skconvnet._advice import show
from skconvnet._images import arrange_axes, show_images
from skconvnet._losses import CROSS_ENTROPY, Loss, measure_precisions
from skconvnet._plan import Plan
from skconvnet._types import Array, Shape
from skconvnet.kernels.memory import Image
from skconvnet.kernels.pixels import compile_for_pixels
from skconvnet.layers import Augment, Layer, Mixup, Output, Rescaling, ShapeError, Standardize
from skconvnet.layers.augmentation import RANDOM_LAYERS
from skconvnet.layers.base import describe_shape
from skconvnet.layers.sequence import Named, find_layers, name_layers


def _as_image(shape: Shape) -> Shape:
    """A vector of features as channels of one pixel."""
    return tuple(shape) if len(shape) == 3 else (shape[0], 1, 1)


@dataclass(frozen=True)
class Stage:
    """A layer in its place in a network."""

    key: str  # what its parameters and its fields are searched by
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    places: dict[str, int]  # parameter or statistic: where it starts in the flat vector
    shapes: dict[str, Shape]  # parameter: its shape
    statistics: dict[str, Shape]  # statistic: its shape
    n_parameters: int  # trainable numbers
    frozen: bool  # whether its parameters, moments and masks are those of prediction

    @property
    def label(self) -> str:
        return f"{type(self.layer).__name__} {self.key!r}"


class Network:
    """A network compiled for one input shape and precision.

    Parameters
    ----------
    layers : list of layer or None
        None leaves its position empty.
    input_shape : tuple of int
        (channels, height, width), or (features,) for vectors.
    n_outputs : int, default=None
        Number of outputs: an `Output` is added or, if it is the last layer, resolved. None for a
        stack that ends where it ends.
    dtype : dtype, default=np.float32
        float32 or float64.
    freeze : sequence of str or int, default=()
        Layers, by search key or position, whose parameters stay, and whose moments and masks are those
        of prediction.

    Attributes
    ----------
    layers : tuple of layer or None
    stages : tuple of Stage
    freeze : tuple of str
        The search keys of the frozen layers.
    n_params : int
        Numbers that are trained.
    params : ndarray of shape (n_params + n_frozen + n_statistics,)
        All parameters, one after the other, those of frozen layers behind the others, then the
        statistics of batch normalisation.
    weights : mapping of str to ndarray

    Raises
    ------
    ValueError
        If a layer does not fit what it gets, or there is none that freeze names.
    TypeError
        If something in layers is not a layer.
    """

    def __init__(
        self,
        layers: Sequence[Layer | None],
        input_shape: Sequence[int],
        n_outputs: int | None = None,
        dtype: DTypeLike = np.float32,
        freeze: Sequence[str | int] = (),
    ) -> None:
        self.input_shape = tuple(int(n) for n in input_shape)
        self.dtype = np.dtype(dtype)
        named = resolve_output(name_layers(layers), n_outputs)
        frozen = find_layers(named, freeze, "freeze")
        self.stages = _arrange(named, self.input_shape, n_outputs, frozen)
        self.freeze = tuple(stage.key for stage in self.stages if stage.frozen)
        self.layers, self.n_outputs = tuple(layers), n_outputs
        self.output_shape = self.stages[-1].output_shape if self.stages else self.input_shape
        self.n_params = _count(s.shapes for s in self.stages if not s.frozen)
        self._n_gradients = _count(s.shapes for s in self.stages)  # that kernels write
        n_statistics = _count(s.statistics for s in self.stages)
        self._params = np.zeros(self._n_gradients + n_statistics, self.dtype)
        self._programs = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_programs": {}}

    def __repr__(self) -> str:
        return (
            f"<Network of {len(self.stages)} layers on {self.input_shape}: {self.n_parameters} parameters in "
            f"{self.dtype.name}>"
        )

    @property
    def params(self) -> Array:
        """All parameters, one after the other, then all statistics, as one array."""
        return self._params

    @params.setter
    def params(self, vector: Array) -> None:
        vector = np.ascontiguousarray(vector, self.dtype)
        if vector.shape != self._params.shape:
            raise ValueError(f"params must have shape {self._params.shape}, got {vector.shape}.")
        self._params = vector

    def initialize(self, rng: np.random.RandomState) -> None:
        """Draw all parameters.

        Parameters
        ----------
        rng : RandomState
        """
        for stage in self.stages:
            for name, value in stage.layer.initialize(stage.input_shape, rng).items():
                self._view(self.params, stage, name)[...] = value

    def learn(self, X: Array, rows: Array) -> None:
        """Let layers learn what they learn from the training data itself.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        rows : ndarray of intp of shape (k,)
            Which of the samples.
        """
        for stage in self.stages:
            for name, value in stage.layer.learn(X, rows).items():
                self._view(self.params, stage, name)[...] = value

    def draw_mixing(self, sizes: Array, rng: np.random.RandomState) -> tuple[Array, Array]:
        """Draw how mini-batches are mixed in training.

        Parameters
        ----------
        sizes : ndarray of int of shape (n_batches,)
            Of the mini-batches.
        rng : RandomState

        Returns
        -------
        shares, shifts : ndarray of shape (n_batches,)
            As `Mixup` draws them; without one, a share of 1.
        """
        for stage in self.stages:
            if isinstance(stage.layer, Mixup) and not stage.frozen:
                return stage.layer.draw(sizes, rng)
        return np.ones(len(sizes)), np.zeros(len(sizes), np.intp)

    def start_augmentation(
        self, X: Array, data_format: str, rng: np.random.RandomState
    ) -> Callable[[Array], Any] | None:
        """Settle how the images of mini-batches are changed in training.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        data_format : {"channels_last", "channels_first"}
            Of the mini-batches that functions get.
        rng : RandomState

        Returns
        -------
        augment : callable (rows) -> Samples, or None
            Gives the images of some samples, after all `Augment` layers; None if there are none.
        """
        layers = [s.layer for s in self.stages if isinstance(s.layer, Augment) and not s.frozen]
        shown = np.asarray(show_images(X, data_format))

        def augment(rows: Array) -> Any:
            images = shown[rows].astype(self.dtype, order="C", copy=False)  # indexing has made a copy
            for layer in layers:
                images = layer.apply(images, rng)
            return self.wrap(arrange_axes(np.require(images, requirements="A"), data_format))

        return augment if layers else None

    @staticmethod
    def _view(vector: Array, stage: Stage, name: str) -> Array:
        """A parameter's part of a flat vector, in its shape."""
        start, shape = stage.places[name], {**stage.shapes, **stage.statistics}[name]
        return vector[start : start + _size(shape)].reshape(shape)

    def split(self, vector: Array) -> dict[str, Array]:
        """Name the parts of a flat vector.

        Parameters
        ----------
        vector : ndarray of the shape of params, or of shape (n_params,)
            A gradient has no statistics.

        Returns
        -------
        parts : dict of str to ndarray
            Views of the vector, in PyTorch's layouts, by the layer's search key and the
            parameter: ``"stem.weight"`` of shape (filters, channels, kh, kw), ``"0.bias"``,
            ``"1.running_mean"``, ``"output.weight"`` of shape (units, inputs).
        """
        return {
            f"{stage.key}.{name}": self._view(vector, stage, name)
            for stage in self.stages
            for name in stage.places
            if stage.places[name] < len(vector)
        }

    @property
    def weights(self) -> Mapping[str, Array]:
        """Read-only mapping from search key and parameter to array, in PyTorch's layouts."""
        parts = self.split(self.params)
        for part in parts.values():
            part.flags.writeable = False
        return MappingProxyType(parts)

    def set_weights(self, mapping: Mapping[str, ArrayLike]) -> None:
        """Set all parameters and statistics.

        Parameters
        ----------
        mapping : mapping of str to array-like
            The keys and shapes of `weights`.

        Raises
        ------
        ValueError
            If a key is missing or unknown, a shape is wrong, a number is not finite, a weight is
            not 0 where a connection table has False, or a running variance is negative. The parameters
            then stay as they were.
        """
        expected = self.split(self.params)
        if set(mapping) != set(expected):
            wrong = {"missing": set(expected) - set(mapping), "unknown": set(mapping) - set(expected)}
            found = ", ".join(f"{word} {sorted(keys)}" for word, keys in wrong.items() if keys)
            raise ValueError(f"set_weights: {found}; the network has {list(expected)}.")
        vector = np.empty_like(self.params)
        for key, part in self.split(vector).items():
            value = np.asarray(mapping[key])
            if value.dtype.kind not in "biuf":
                raise ValueError(f"set_weights: {key!r} must be real numbers, got {value.dtype}.")
            if value.shape != part.shape:
                raise ValueError(f"set_weights: {key!r} must have shape {part.shape}, got {value.shape}.")
            with np.errstate(over="ignore"):
                part[...] = value
            if not np.isfinite(part).all():
                raise ValueError(f"set_weights: {key!r} has numbers that are not finite.")
        for stage in self.stages:
            try:
                stage.layer.check_parameters(
                    stage.input_shape, {n: self._view(vector, stage, n) for n in stage.places}
                )
            except ValueError as error:
                raise ValueError(f"set_weights: {stage.label}: {error}") from None
        self.params = vector

    def list_decaying(self) -> Array:
        """List where the flat vector has numbers that weight decay acts on: kernels, no biases or scales.

        Returns
        -------
        ranges : ndarray of intp of shape (k, 2)
            From where to where.
        """
        ranges = [
            (stage.places[name], stage.places[name] + _size(stage.shapes[name]))
            for stage in self.stages
            if not stage.frozen
            for name in stage.layer.list_decaying(stage.input_shape)
        ]
        return np.array(ranges, np.intp).reshape(-1, 2)

    def summary(self) -> None:
        """Print the plan: a row a layer, with the shape it makes, its parameters and its bytes.

        Bytes are those of the layer's output for one sample; parameters count what is trained, so
        not frozen layers, nor the weights that a connection table leaves out.
        """
        size = self.dtype.itemsize
        rows: list[tuple[str, ...]] = [("layer", "", "output", "parameters", "bytes")]
        rows.append(("input", "", str(self.input_shape), "0", str(_size(self.input_shape) * size)))
        for s in self.stages:
            rows.append(
                (
                    s.key,
                    repr(s.layer),
                    str(s.output_shape),
                    str(s.n_parameters),
                    str(_size(s.output_shape) * size),
                )
            )
        rows = [(key, shorten(layer, 44), *rest) for key, layer, *rest in rows]
        widths = [max(len(row[k]) for row in rows) for k in range(5)]
        for row in rows:
            cells = [f"{cell:<{w}}" for cell, w in zip(row[:3], widths)]
            cells += [f"{cell:>{w}}" for cell, w in zip(row[3:], widths[3:])]
            print("  ".join(cells).rstrip())
        total = self.n_parameters
        print(f"{total} parameters, {total * size} bytes in {self.dtype.name}")

    @property
    def n_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(stage.n_parameters for stage in self.stages)

    def find(self, layer: str | int) -> Stage:
        """Give a layer in its place.

        Parameters
        ----------
        layer : str or int
            Its search key, or its position, negative from the end; the output layer has none but goes
            by "output".

        Returns
        -------
        stage : Stage

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        (key,) = find_layers(resolve_output(name_layers(self.layers), self.n_outputs), [layer], "layer")
        return next(stage for stage in self.stages if stage.key == key)

    def compile(
        self,
        head: str | None = None,
        training: bool = False,
        input_gradient: bool = False,
        last: str | None = None,
    ) -> Any:
        """Give the program of this network for the chosen instruction set.

        Parameters
        ----------
        head : {None, "softmax", "log_softmax"}, default=None
            What follows the last layer.
        training : bool, default=False
            Whether the program trains: then it has calls, such as dropout, that prediction has not.
        input_gradient : bool, default=False
            Whether `Program.backward` gives the gradient to the input.
        last : str, default=None
            Search key of the layer that the program ends with; None for all layers.

        Returns
        -------
        program : Program
        """
        key = kernels.get_isa(), head, training, input_gradient, last
        if key not in self._programs:
            plan, image, _ = self._lower(head, training, input_gradient, last)
            machine = kernels.get_machine(self.dtype)
            self._programs[key] = plan.compile(machine, image, self._n_gradients)
        return self._programs[key]

    def compile_for_pixels(self, head: str | None = None, last: str | None = None) -> Any:
        """Give the program of this network that predicts single images.

        Parameters
        ----------
        head : {None, "softmax", "log_softmax"}, default=None
            What follows the last layer.
        last : str, default=None
            Search key of the layer that the program ends with; None for all layers.

        Returns
        -------
        program : Program or None
            None for a network that has none: see `kernels.pixels`.
        """
        key = kernels.get_isa(), head, "pixels", last
        if key not in self._programs:
            plan, image, _ = self._lower(head, last=last)
            machine = kernels.get_machine(self.dtype)
            ends = plan.input, image
            self._programs[key] = compile_for_pixels(machine, plan.calls, *ends, self._n_gradients)
        return self._programs[key]

    def _lower(
        self,
        head: str | None = None,
        training: bool = False,
        input_gradient: bool = False,
        last: str | None = None,
    ) -> tuple[Plan, Image, list[str]]:
        """Give a plan of layers and head, its last image, and the names of the layers' calls."""
        plan, names = Plan(self.input_shape, input_gradient, training), []
        image = plan.input
        for stage in self._list_stages(last):
            plan.frozen = stage.frozen
            image = stage.layer.lower(plan, image, stage.places)
            names += [f"{stage.key} {call.name}" for call in plan.calls[len(names) :]]
        if head:
            image = plan.activate(image, head)
        return plan, image, names

    def _list_stages(self, last: str | None) -> tuple[Stage, ...]:
        """The stages up to the one of a search key, or all."""
        keys = [stage.key for stage in self.stages]
        return self.stages[: keys.index(last) + 1] if last is not None else self.stages

    def wrap(self, X: Array) -> Any:
        """Make images readable to the machine, without a copy.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
            Of uint8 or of native, aligned float32 or float64; any strides.

        Returns
        -------
        samples : Samples

        Raises
        ------
        TypeError
            If they are of another type.
        ValueError
            If the images are of another shape than the network's input.
        """
        return self._wrap(X, self.input_shape, "X")

    def _wrap(self, X: Array, shape: Shape, what: str) -> Any:
        """Make an array of samples of this shape readable to the machine."""
        if X.shape[1:] != shape:
            raise ValueError(f"{what} must have shape {('n', *shape)}, got {X.shape}.")
        strides = X.strides if X.ndim == 4 else (*X.strides, 0, 0)
        return kernels.get_machine(self.dtype).Samples(X, _as_image(X.shape[1:]), strides)

    def make_workspace(self, program: Any, n_threads: int, batch_size: int = 0) -> Any:
        """Allocate what a program works in.

        Parameters
        ----------
        program : Program
        n_threads : int
        batch_size : int, default=0
            The largest batch to train on; 0 for prediction.

        Returns
        -------
        workspace : Workspace

        Raises
        ------
        ValueError
            If n_threads is below 1.
        """
        if n_threads < 1:
            raise ValueError(f"n_threads must be at least 1, got {n_threads}.")
        return kernels.get_machine(self.dtype).Workspace(program, n_threads, batch_size)

    def forward(
        self, X: Array, n_threads: int = 1, head: str | None = None, last: str | None = None
    ) -> Array:
        """Compute the network's outputs.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
            As `wrap` takes them.
        n_threads : int, default=1
        head : {None, "softmax", "log_softmax"}, default=None
            What follows the last layer.
        last : str, default=None
            Search key of the layer to end with; None for all layers.

        Returns
        -------
        y : ndarray of shape (n, outputs)
            Images are flattened, channels first.

        Raises
        ------
        KeyError
            If there is no such head.
        TypeError
            As `wrap` does.
        ValueError
            As `wrap` does, or if there is no such layer, or n_threads is below 1.
        """
        lanes = kernels.get_machine(self.dtype).lanes
        program = self.compile_for_pixels(head, last) if len(X) <= lanes // 2 else None
        if program is None:
            program = self.compile(head, last=last)
        y = np.empty((len(X), self.count_outputs(last)), self.dtype)
        n_blocks = len(X) if program.pixels else -(-len(X) // lanes)
        workspace = self.make_workspace(program, min(n_threads, max(n_blocks, 1)))
        program.forward(self.wrap(X), np.arange(len(X)), self.params, y, workspace)
        return y

    def count_outputs(self, last: str | None = None) -> int:
        """Count the numbers that a layer makes of a sample.

        Parameters
        ----------
        last : str, default=None
            Search key of the layer; None for the last one.

        Returns
        -------
        n_outputs : int
        """
        stages = self._list_stages(last)
        return _size(stages[-1].output_shape if stages else self.input_shape)

    def backward(self, X: Array, dy: Array, n_threads: int = 1) -> tuple[Array, Array]:
        """Push a gradient to the outputs back through the network as it trains.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        dy : ndarray of the shape of the outputs
            In the network's dtype.
        n_threads : int, default=1

        Returns
        -------
        dx : ndarray of the shape of X
        dparams : ndarray of shape (n_params,)
            Summed over samples, not averaged.

        Raises
        ------
        ValueError
            If X or dy has another shape than the network's, or another number of samples than the other.
        """
        if len(dy) != len(X):
            raise ValueError(f"dy must have the {len(X)} samples of X, got {len(dy)}.")
        program = self.compile(training=True, input_gradient=True)
        dx, dparams = self._make_gradients(X)
        program.backward(
            self.wrap(X),
            self._wrap(dy, self.output_shape, "dy"),
            np.arange(len(X)),
            self.params,
            dx,
            dparams,
            self.make_workspace(program, n_threads, len(X)),
        )
        return dx.reshape(X.shape), dparams

    def wrap_target(self, target: Array, weight: Array, loss: Loss, precisions: Array | None = None) -> Any:
        """Make targets readable to the machine, without a copy.

        Parameters
        ----------
        target : ndarray of intp of shape (n,), or of shape (n, n_outputs)
            Class indices, or a number for every output, of one of the types that `wrap` takes.
        weight : ndarray of float64 of shape (n,)
            Of the samples.
        loss : Loss
        precisions : ndarray of float64 of shape (n_outputs,), default=None
            What `measure_precisions` gives for the samples that these are some of; None measures these.

        Returns
        -------
        targets : Targets

        Raises
        ------
        ValueError
            If there are not as many targets as weights, or not as many numbers as outputs, or a class
            index is out of range.
        """
        if len(target) != len(weight):
            raise ValueError(f"target must have {len(weight)} rows, as weight has, got {len(target)}.")
        machine, n_outputs = kernels.get_machine(self.dtype), _size(self.output_shape)
        fields = loss.fields(machine.loss_kinds, n_outputs)
        if target.ndim == 1:
            smallest, largest = target.min(), target.max()
            if not 0 <= smallest <= largest < n_outputs:
                raise ValueError(f"target must be from 0 to {n_outputs - 1}, got {smallest} to {largest}.")
            return machine.Targets(fields, target, None, np.zeros(n_outputs))
        values = self._wrap(target, (n_outputs,), "target")
        if precisions is None:
            precisions = measure_precisions(target, weight)
        return machine.Targets(fields, None, values, precisions)

    def loss(
        self,
        X: Array,
        target: Array,
        weight: Array | None = None,
        n_threads: int = 1,
        loss: Loss = CROSS_ENTROPY,
    ) -> tuple[float, Array, Array]:
        """Compute the mean loss of one batch and its gradient.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        target : ndarray of intp of shape (n,), or of shape (n, n_outputs)
            As `wrap_target` takes it.
        weight : ndarray of float64 of shape (n,), default=None
            Of the samples; None for equal weights.
        n_threads : int, default=1
        loss : Loss, default=CROSS_ENTROPY

        Returns
        -------
        loss : float
        dx : ndarray of the shape of X
        dparams : ndarray of shape (n_params,)

        Raises
        ------
        TypeError
            As `wrap` does.
        ValueError
            As `wrap` and `wrap_target` do, or if n_threads is below 1.
        """
        program = self.compile(training=True, input_gradient=True)
        dx, dparams = self._make_gradients(X)
        weight = np.ones(len(X)) if weight is None else weight
        mean, _ = program.loss(
            self.wrap(X),
            np.arange(len(X)),
            self.wrap_target(target, weight, loss),
            weight,
            weight.sum(),
            0,  # the key and the step that random numbers are drawn with
            0,
            self.params,
            dx,
            dparams,
            self.make_workspace(program, n_threads, len(X)),
        )
        return mean, dx.reshape(X.shape), dparams

    def list_calls(self) -> list[str]:
        """Name the kernel calls of a forward pass in training.

        Returns
        -------
        names : list of str
            The layer's search key and the kernel, in order.
        """
        return self._lower(training=True)[2]

    def time_parts(self, X: Array, target: Array) -> Array:
        """Time a forward and backward pass over one batch, on one thread.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        target : ndarray of intp of shape (n,)
            Class indices.

        Returns
        -------
        seconds : ndarray of shape (2 + 2 * n_calls,)
            Of gathering X, each call of `list_calls` forward, the loss, each call backward.
        """
        program, weight = self.compile(training=True), np.ones(len(X))
        seconds = np.zeros(2 + 2 * len(self.list_calls()))
        program.profile(
            self.wrap(X),
            np.arange(len(X)),
            self.wrap_target(target, weight, CROSS_ENTROPY),
            weight,
            self.params,
            seconds,
            self.make_workspace(program, 1, len(X)),
        )
        return seconds

    def _make_gradients(self, X: Array) -> tuple[Array, Array]:
        """Room for the gradients to input and parameters."""
        dx = np.empty((len(X), _size(self.input_shape)), self.dtype)
        return dx, np.zeros(self.n_params, self.dtype)


def resolve_output(named: Named, n_outputs: int | None) -> Named:
    """Put the output layer behind the others.

    Parameters
    ----------
    named : list of (str, layer or None)
        As `name_layers` gives them; the last layer may be an `Output`.
    n_outputs : int or None
        None for a stack that ends where it ends.

    Returns
    -------
    named : list of (str, layer or None)
        The output layer, resolved, is the last and called "output".

    Raises
    ------
    ValueError
        If another layer is called "output".
    """
    if n_outputs is None:
        return named
    last = max((k for k, (_, layer) in enumerate(named) if layer is not None), default=-1)
    output: Any = Output()
    if last >= 0 and isinstance(named[last][1], Output):
        output = named[last][1]
        named = named[:last] + named[last + 1 :]
    if any(key == "output" for key, _ in named):
        raise ValueError('the name "output" is taken by the output layer; choose another.')
    return [*named, ("output", output.resolve(n_outputs))]


# What acts on the training data before the network does: what may come before it.
_LEADERS = {
    Augment: (Augment,),
    Standardize: (Augment, *RANDOM_LAYERS),
    Mixup: (Augment, Standardize, Rescaling),
}


def _arrange(
    named: Named, input_shape: Shape, n_outputs: int | None, frozen_keys: Sequence[str]
) -> tuple[Stage, ...]:
    """Check every layer against its input, and place its parameters."""
    stages, shape, source = [], input_shape, "X"
    for key, layer in named:
        if layer is None:
            continue
        if isinstance(layer, Output):
            raise ValueError("Output must be the last of the layers.")
        for kind, leaders in _LEADERS.items():
            others = [s.label for s in stages if not isinstance(s.layer, leaders)]
            if isinstance(layer, kind) and others:
                raise ValueError(
                    f"{kind.__name__} must be the first of the layers; only "
                    f"{', '.join(leader.__name__ for leader in leaders)} may come before it, got "
                    f"{others[0]}. Put {kind.__name__} before it."
                )
        label = f"{type(layer).__name__} {key!r}"
        try:
            output_shape = layer.output_shape(shape)
        except ShapeError as error:
            raise ValueError(
                f"{label} ({show(layer)}) needs {error.need}, got {describe_shape(shape)} from "
                f"{source}. {error.remedy}"
            ) from None
        shapes = layer.parameter_shapes(shape)
        statistics, frozen = layer.statistic_shapes(shape), key in frozen_keys
        n_parameters = 0 if frozen else layer.count_parameters(shape)
        stages.append(Stage(key, layer, shape, output_shape, {}, shapes, statistics, n_parameters, frozen))
        shape, source = output_shape, label
    start = 0
    for stage, shapes in (
        *((stage, stage.shapes) for stage in stages if not stage.frozen),
        *((stage, stage.shapes) for stage in stages if stage.frozen),
        *((stage, stage.statistics) for stage in stages),
    ):
        for name, part in shapes.items():
            stage.places[name] = start
            start += _size(part)
    if n_outputs is not None and _size(shape) != n_outputs:
        raise ValueError(
            f"Output(dense=False): the last layer must give one value for each of the "
            f"{n_outputs} outputs that y asks for, got {describe_shape(stages[-1].input_shape)}."
        )
    return tuple(stages)


def shorten(text: str, width: int) -> str:
    """Cut a text that is too long for its column."""
    return text if len(text) <= width else text[: width - 3] + "..."


def _count(stages: Iterable[dict[str, Shape]]) -> int:
    """Number of elements in all shapes of some stages."""
    return sum(_size(shape) for shapes in stages for shape in shapes.values())


def _size(shape: Shape) -> int:
    """Number of elements."""
    return int(np.prod(shape))
