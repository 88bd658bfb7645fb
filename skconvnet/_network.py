"""The network: stages of layers, one flat parameter vector, and the programs compiled for them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from skconvnet import kernels
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._lowering.single_image import compile_single_image
from skconvnet._lowering.work import estimate_balance
from skconvnet._outline import format_summary
from skconvnet._stages import Stage, arrange_stages, count_elements, resolve_output
from skconvnet._types import Array, Shape
from skconvnet.initializers import whiten
from skconvnet.layers import Layer
from skconvnet.layers.sequence import find_layers, name_layers
from skconvnet.losses import CROSS_ENTROPY, Comparison, Objective, measure_inverse_variances

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Compare, Dataset, Engine, Program, Samples, Targets, Workspace


# The number of samples that init="whiten" looks at.
MOST_SAMPLES = 5000


def _as_image(shape: Shape) -> Shape:
    """Return the shape of a vector as channels of one pixel."""
    return tuple(shape) if len(shape) == 3 else (shape[0], 1, 1)


class Network:
    """A network compiled for one input shape and precision.

    Parameters
    ----------
    layers : list of layer or None
        None leaves a position empty.
    input_shape : tuple of int
        (channels, height, width), (channels, length) for signals, which have one row, or (features,) for
        vectors.
    n_outputs : int, default=None
        Number of outputs. An `Output` layer is appended, or resolved if it is the last layer already. None
        for a stack without output layer.
    dtype : dtype, default=np.float32
        Either float32 or float64.
    freeze : sequence of str or int, default=()
        Layers, by search key or position, whose parameters are not trained, and which do the same in
        training as in prediction.

    Attributes
    ----------
    layers : tuple of layer or None
    stages : tuple of Stage
    freeze : tuple of str
        The search keys of the frozen layers.
    n_params : int
        Number of trained parameters.
    params : ndarray of shape (n_params + n_frozen + n_statistics,)
        All parameters in one vector: the trained ones, then those of frozen layers, then the statistics of
        batch normalisation.
    weights : mapping of str to ndarray

    Raises
    ------
    ValueError
        If a layer does not fit its input, or freeze names a layer that does not exist.
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
        channels, *size = (int(n) for n in input_shape)
        self.input_shape = (channels, 1, *size) if len(size) == 1 else (channels, *size)
        self.dtype = np.dtype(dtype)
        named = resolve_output(name_layers(layers), n_outputs)
        frozen = find_layers(named, freeze, "freeze")
        self.stages = arrange_stages(named, self.input_shape, n_outputs, frozen)
        self.freeze = tuple(stage.key for stage in self.stages if stage.frozen)
        self.layers, self.n_outputs = tuple(layers), n_outputs
        self.output_shape = self.stages[-1].output_shape if self.stages else self.input_shape
        self.n_params = sum(count_elements(s.shapes.values()) for s in self.stages if not s.frozen)
        # kernels write gradients of trained and of frozen parameters
        self._n_gradients = sum(count_elements(s.shapes.values()) for s in self.stages)
        n_statistics = sum(count_elements(s.statistics.values()) for s in self.stages)
        self._params = np.zeros(self._n_gradients + n_statistics, self.dtype)
        self._programs: dict[Any, Program | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_programs": {}}

    def __repr__(self) -> str:
        return (
            f"<Network of {len(self.stages)} layers on {self.input_shape}: {self.n_parameters} parameters in "
            f"{self.dtype.name}>"
        )

    @property
    def params(self) -> Array:
        """All parameters, then all statistics, in one array."""
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
        """Let layers learn their statistics, and the weights of `init="whiten"`, from the training data.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        rows : ndarray of intp of shape (k,)
            Indices of the samples.
        """
        some = rows[:: max(1, len(rows) // MOST_SAMPLES)][:MOST_SAMPLES]
        for k, stage in enumerate(self.stages):
            for name, value in stage.layer.learn(X, rows).items():
                self._view(self.params, stage, name)[...] = value
            if getattr(stage.layer, "init", None) == "whiten":
                images = X[some]
                if k:
                    images = self.forward(images, last=self.stages[k - 1].key)
                weight = self._view(self.params, stage, "weight")
                weight = weight if weight.ndim == 4 else weight[:, :, np.newaxis]  # a signal has one row
                weight[...] = whiten(images.reshape(-1, *stage.input_shape), weight)

    @staticmethod
    def _view(vector: Array, stage: Stage, name: str) -> Array:
        """Return the part of a flat vector that belongs to a parameter, in the parameter's shape."""
        start, shape = stage.offsets[name], {**stage.shapes, **stage.statistics}[name]
        return vector[start : start + count_elements([shape])].reshape(shape)

    def split(self, vector: Array) -> dict[str, Array]:
        """Return the parts of a flat vector by name.

        Parameters
        ----------
        vector : ndarray of the shape of params, or of shape (n_params,)
            A gradient has the trained parameters only.

        Returns
        -------
        parts : dict of str to ndarray
            Views of the vector, in PyTorch's layouts, by the search key of the layer and the name of the
            parameter: ``"stem.weight"`` of shape (filters, channels, kh, kw), ``"0.bias"``,
            ``"1.running_mean"``, ``"output.weight"`` of shape (units, inputs).
        """
        return {
            f"{stage.key}.{name}": self._view(vector, stage, name)
            for stage in self.stages
            for name in stage.offsets
            if stage.offsets[name] < len(vector)
        }

    @property
    def weights(self) -> Mapping[str, Array]:
        """Read-only mapping from search key and parameter name to array, in PyTorch's layouts."""
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
            If a key is missing or unknown, a shape is wrong, a value is not finite, a weight is
            not 0 where a connection table has False, or a running variance is negative. The parameters
            are then unchanged.
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
                raise ValueError(f"set_weights: {key!r} has values that are not finite.")
        for stage in self.stages:
            try:
                stage.layer.check_parameters(
                    stage.input_shape, {n: self._view(vector, stage, n) for n in stage.offsets}
                )
            except ValueError as error:
                raise ValueError(f"set_weights: {stage.label}: {error}") from None
        self.params = vector

    def group_parameters(self, weight_decay: float = 0.0, matrices: bool = False) -> Array:
        """Divide the trained part of the flat vector into ranges that optimizers move alike.

        Parameters
        ----------
        weight_decay : float, default=0.0
            It acts on weights, but on no biases or scales.
        matrices : bool, default=False
            Whether the weights of hidden layers are matrices with a row for each filter or unit.

        Returns
        -------
        groups : structured ndarray of shape (k,)
            With the fields of the kernels' struct group_t: start, end, rate, decay, rows.
        """
        groups: list[list[Any]] = []
        for stage in self.stages:
            if stage.frozen:
                continue
            decaying = stage.layer.list_decaying(stage.input_shape)
            inner = matrices and stage.key != "output"
            whole = stage.layer.list_matrices(stage.input_shape) if inner else ()
            for name, factor in stage.layer.list_rate_factors(stage.input_shape).items():
                start, size = stage.offsets[name], count_elements([stage.shapes[name]])
                rows = stage.shapes[name][0] if name in whole else 0
                alike = [float(factor), float(weight_decay) * (name in decaying), rows]
                if groups and rows == 0 and groups[-1][1:] == [start, *alike]:
                    groups[-1][1] += size
                else:
                    groups.append([start, start + size, *alike])
        types = {"start": np.intp, "end": np.intp, "rate": np.float64, "decay": np.float64, "rows": np.intp}
        return np.array([tuple(group) for group in groups], list(types.items()))

    def summary(self) -> None:
        """Print a table: a row per layer, with the shape of its output, its parameters and its bytes.

        Bytes are those of the layer's output for one sample. Parameters are the trained ones; those of frozen
        layers and the weights that a connection table excludes are not counted.
        """
        print(format_summary(self.stages, self.input_shape, self.dtype))

    @property
    def n_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(stage.n_parameters for stage in self.stages)

    def find(self, layer: str | int) -> Stage:
        """Return the stage of a layer.

        Parameters
        ----------
        layer : str or int
            Its search key, or its position, negative from the end; the output layer has no position, and its
            key is "output".

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
        loss: Objective = CROSS_ENTROPY,
    ) -> "Program":
        """Return the program of this network for the chosen instruction set.

        Parameters
        ----------
        head : {None, "softmax", "log_softmax"}, default=None
            Function of the last layer's output.
        training : bool, default=False
            Whether the program is for training: it then has calls, such as dropout, that prediction does not
            need.
        input_gradient : bool, default=False
            Whether `Program.backward` computes the gradient to the input.
        last : str, default=None
            Search key of the layer that the program ends with; None for all layers.
        loss : Objective, default=CROSS_ENTROPY
            For training: if its loss is the user's, the forward and the backward pass are two calls, and
            blocks keep all values between them.

        Returns
        -------
        program : Program
        """
        key = kernels.get_isa(), head, training, input_gradient, last, loss.compiled
        program = self._programs.get(key)
        if program is None:
            plan, output, _ = self._lower(head, training, input_gradient, last)
            plan.persist_values = training and not loss.compiled
            program = self._programs[key] = plan.compile(self._engine, output, self._n_gradients)
        return program

    @property
    def _engine(self) -> "Engine":
        """Compiled kernels for this precision and the chosen instruction set."""
        return kernels.get_engine(self.dtype)

    def compile_single_image(self, head: str | None = None, last: str | None = None) -> "Program | None":
        """Return the program of this network that predicts single images.

        Parameters
        ----------
        head : {None, "softmax", "log_softmax"}, default=None
            Function of the last layer's output.
        last : str, default=None
            Search key of the layer that the program ends with; None for all layers.

        Returns
        -------
        program : Program or None
            None for a network that has no such program: see `_lowering.single_image`.
        """
        key = kernels.get_isa(), head, "single image", last
        if key not in self._programs:
            plan, output, _ = self._lower(head, last=last)
            self._programs[key] = compile_single_image(
                self._engine, plan.calls, plan.input, output, self._n_gradients
            )
        return self._programs[key]

    def _lower(
        self,
        head: str | None = None,
        training: bool = False,
        input_gradient: bool = False,
        last: str | None = None,
    ) -> tuple[Plan, Tensor, list[str]]:
        """Return a plan of layers and head, its output, and the names of the layers' calls."""
        plan, keys = Plan(self.input_shape, input_gradient, training), []
        tensor = plan.input
        for stage in self._list_stages(last):
            plan.frozen = stage.frozen
            tensor = stage.layer.lower(plan, tensor, stage.offsets)
            keys += [stage.key] * (len(plan.calls) - len(keys))
        names = [f"{key} {call.name}" for key, call in zip(keys, plan.calls)]
        if head:
            tensor = plan.activate(tensor, head)
        return plan, tensor, names

    def _list_stages(self, last: str | None) -> tuple[Stage, ...]:
        """Return the stages up to the one with a search key; None for all stages."""
        keys = [stage.key for stage in self.stages]
        return self.stages[: keys.index(last) + 1] if last is not None else self.stages

    def wrap(self, X: Array) -> "Samples":
        """Wrap images for the engine, without a copy.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
            Images of uint8, float32 or float64, in native byte order and aligned; any strides.

        Returns
        -------
        samples : Samples

        Raises
        ------
        TypeError
            If the images have another dtype.
        ValueError
            If the shape of an image is not that of the network's input.
        """
        return self._wrap(X, self.input_shape, "X")

    def _wrap(self, X: Array, shape: Shape, what: str) -> "Samples":
        """Wrap an array of samples of this shape for the engine."""
        if X.shape[1:] != shape:
            raise ValueError(f"{what} must have shape {('n', *shape)}, got {X.shape}.")
        strides = X.strides if X.ndim == 4 else (*X.strides, 0, 0)
        return self._engine.Samples(X, _as_image(X.shape[1:]), strides)

    def make_workspace(self, program: "Program", n_threads: int, batch_size: int = 0) -> "Workspace":
        """Allocate the memory that a program works in.

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
        return self._engine.Workspace(program, n_threads, batch_size)

    def forward(
        self, X: Array, n_threads: int = 1, head: str | None = None, last: str | None = None
    ) -> Array:
        """Compute the network's outputs.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
            As for `wrap`.
        n_threads : int, default=1
        head : {None, "softmax", "log_softmax"}, default=None
            Function of the last layer's output.
        last : str, default=None
            Search key of the layer whose outputs are computed; None for the last layer.

        Returns
        -------
        y : ndarray of shape (n, outputs)
            Outputs of shape (channels, height, width) are flattened in this order.

        Raises
        ------
        KeyError
            If there is no such head.
        TypeError
            As `wrap` does.
        ValueError
            As `wrap` does, or if there is no such layer, or n_threads is below 1.
        """
        lanes = self._engine.lanes
        program = self.compile_single_image(head, last) if len(X) <= lanes // 2 else None
        if program is None:
            program = self.compile(head, last=last)
        y = np.empty((len(X), self.count_outputs(last)), self.dtype)
        workspace = self.make_workspace(program, n_threads)
        program.forward(self.wrap(X), np.arange(len(X)), self.params, y, workspace)
        return y

    def count_outputs(self, last: str | None = None) -> int:
        """Return the number of output values of a layer for one sample.

        Parameters
        ----------
        last : str, default=None
            Search key of the layer; None for the last one.

        Returns
        -------
        n_outputs : int
        """
        stages = self._list_stages(last)
        return count_elements([stages[-1].output_shape if stages else self.input_shape])

    def backward(self, X: Array, dy: Array, n_threads: int = 1) -> tuple[Array, Array]:
        """Backpropagate a gradient with respect to the outputs through the network in training mode.

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
            If X or dy does not have the shape of the network's input or output, or if their numbers of
            samples differ.
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

    def wrap_target(
        self,
        target: Array,
        weight: Array,
        loss: Objective,
        inverse_variances: Array | None = None,
        misses: bool = False,
    ) -> "Targets | Compare":
        """Wrap targets for the engine, without a copy.

        Parameters
        ----------
        target : ndarray of intp of shape (n,), or of shape (n, n_outputs)
            Class indices, or a value for every output, of one of the types that `wrap` takes; nan for a value
            that is missing.
        weight : ndarray of float64 of shape (n,)
            Weights of the samples.
        loss : Objective
        inverse_variances : ndarray of float64 of shape (n_outputs,), default=None
            Result of `measure_inverse_variances` for all samples, if target has only a part of them; None
            means that of target.
        misses : bool, default=False
            Whether values may be missing later, although none of them is now.

        Returns
        -------
        targets : Targets, or Comparison for a loss of the user's

        Raises
        ------
        ValueError
            If the numbers of targets and weights differ, if the numbers of values and outputs differ, or if
            a class index is out of range.
        """
        if len(target) != len(weight):
            raise ValueError(f"target must have {len(weight)} rows, as weight has, got {len(target)}.")
        n_outputs = count_elements([self.output_shape])
        classes = target.dtype.kind == "i"
        if classes:
            smallest, largest = target.min(), target.max()
            if not 0 <= smallest <= largest < n_outputs:
                raise ValueError(f"target must be from 0 to {n_outputs - 1}, got {smallest} to {largest}.")
            inverse_variances = np.zeros(n_outputs)
        elif inverse_variances is None:
            inverse_variances = measure_inverse_variances(target, weight)
        values = None if classes else self._wrap(target, (n_outputs,), "target")
        if not loss.compiled:
            return Comparison(loss, target, weight, inverse_variances)
        misses = not classes and target.dtype.kind == "f" and (misses or bool(np.isnan(target).any()))
        fields = loss.fields(self._engine.loss_kinds, n_outputs, misses)
        return self._engine.Targets(fields, target if classes else None, values, inverse_variances)

    def wrap_data(
        self, X: Array, target: Array, weight: Array, loss: Objective, misses: bool = False
    ) -> "Dataset":
        """Wrap samples with targets and weights for the engine, without a copy.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
            As for `wrap`.
        target : ndarray of intp of shape (n,), or of shape (n, n_outputs)
            As for `wrap_target`.
        weight : ndarray of float64 of shape (n,)
        loss : Objective
        misses : bool, default=False
            As for `wrap_target`.

        Returns
        -------
        data : Dataset

        Raises
        ------
        TypeError
            As `wrap` does.
        ValueError
            As `wrap` and `wrap_target` do.
        """
        targets = self.wrap_target(target, weight, loss, misses=misses)
        return self._engine.Dataset(self.wrap(X), targets, weight)

    def loss(
        self,
        X: Array,
        target: Array,
        weight: Array | None = None,
        n_threads: int = 1,
        loss: Objective = CROSS_ENTROPY,
    ) -> tuple[float, Array, Array]:
        """Compute the mean loss of one batch and its gradient.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        target : ndarray of intp of shape (n,), or of shape (n, n_outputs)
            As for `wrap_target`.
        weight : ndarray of float64 of shape (n,), default=None
            Weights of the samples; None for equal weights.
        n_threads : int, default=1
        loss : Objective, default=CROSS_ENTROPY

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
        program = self.compile(training=True, input_gradient=True, loss=loss)
        dx, dparams = self._make_gradients(X)
        weight = np.ones(len(X)) if weight is None else weight
        mean, _ = program.loss(
            self.wrap_data(X, target, weight, loss),
            np.arange(len(X)),
            self.params,
            dx,
            dparams,
            self.make_workspace(program, n_threads, len(X)),
            total=weight.sum(),
        )
        return mean, dx.reshape(X.shape), dparams

    def list_calls(self) -> list[str]:
        """List the names of the kernel calls of a forward pass in training.

        Returns
        -------
        names : list of str
            The search key of the layer and the name of the kernel, in order of execution.
        """
        return self._lower(training=True)[2]

    def estimate_balance(self, n: int, n_threads: int) -> float:
        """Estimate how evenly threads share the work of a training step: `_lowering.work`.

        Parameters
        ----------
        n : int
            Samples in the batch.
        n_threads : int

        Returns
        -------
        balance : float
            Mean work of a thread over the time of the step, barriers included; at most 1.
        """
        plan, output, _ = self._lower(training=True)
        program = plan.compile(self._engine, output, self._n_gradients)
        n_whole, n_shared = program.count_shards(n, n_threads)
        n_blocks = -(-n // self._engine.lanes)
        shards = n_whole, n_shared, -(-n_blocks // (n_whole + n_shared))
        return estimate_balance(
            plan.list_tasks(self._engine), plan.count_synchronizations(), shards, n_threads
        )

    def count_operations(self) -> Array:
        """Count the floating-point operations of a forward and backward pass for a sample.

        There are two for each multiply-add of convolutions and dense layers, as plain sums with all taps.
        Those of other layers are not counted.

        Returns
        -------
        operations : ndarray of shape (2 + 2 * n_calls,)
            In the order of `time_parts`.
        """
        calls = self._lower(training=True)[0].calls
        counts = [2 * call.count_multiply_adds() for call in calls]
        # backward: to the weights, and to the input if that is required
        backward = [n * (call.y.needs_gradient + call.x.needs_gradient) for n, call in zip(counts, calls)]
        return np.array([0, *counts, 0, *backward])

    def measure_peak(self, n_threads: int = 1) -> float:
        """Measure the highest rate of multiply-adds of this processor, for the chosen instruction set.

        Parameters
        ----------
        n_threads : int, default=1

        Returns
        -------
        rate : float
            Floating-point operations per second: two for each multiply-add in registers, of all threads.
        """
        return 2 * self._engine.measure_peak(n_threads)

    def time_parts(self, X: Array, target: Array, n_threads: int = 1, repeats: int = 1) -> Array:
        """Time a forward and backward pass over one batch, in the same memory each time.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        target : ndarray of intp of shape (n,)
            Class indices.
        n_threads : int, default=1
        repeats : int, default=1
            Number of passes; for each part, the fastest counts.

        Returns
        -------
        seconds : ndarray of shape (2 + 2 * n_calls,)
            Times of the first thread: of gathering X, of each call of `list_calls` forward, of the loss, and
            of each call backward.
        """
        program = self.compile(training=True)
        data = self.wrap_data(X, target, np.ones(len(X)), CROSS_ENTROPY)
        workspace = self.make_workspace(program, n_threads, len(X))
        seconds = np.zeros((repeats, 2 + 2 * len(self.list_calls())))
        for row in seconds:
            program.profile(data, np.arange(len(X)), self.params, row, workspace)
        return seconds.min(axis=0)

    def _make_gradients(self, X: Array) -> tuple[Array, Array]:
        """Allocate the gradients with respect to the input and the parameters."""
        dx = np.empty((len(X), count_elements([self.input_shape])), self.dtype)
        return dx, np.zeros(self.n_params, self.dtype)
