"""What Python sees of an engine module, such as ``_avx2_float32``."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from skconvnet._types import Array, Fields

class Samples:
    n: int
    def __init__(self, X: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> None: ...

class Targets:
    def __init__(
        self, fields: Fields, classes: Array | None, values: Samples | None, inverse_variances: Array
    ) -> None: ...

# (outputs, rows, total, fraction, partner_offset) -> losses, scores, gradient
Compare: TypeAlias = Callable[[Array, Array, float, float, int], tuple[Array, Array, Array]]

class Dataset:
    samples: Samples
    targets: Targets | None
    def __init__(self, samples: Samples, targets: Targets | Compare, weight: Array) -> None: ...

class Epoch:
    def __init__(
        self,
        rows: Array,
        batch_size: int,
        rates: Array,
        lambdas: Array,
        partner_offsets: Array,
        key: int,
        turn: int = 0,
        augment: Callable[[Array], Samples] | None = None,
    ) -> None: ...

class OptimizerState:
    def __init__(
        self, optimizer: Fields, groups: Array, params: Array, vectors: Array, steps: Array
    ) -> None: ...

class Workspace:
    def __init__(self, program: Program, n_threads: int, batch_size: int = 0) -> None: ...

class Program:
    single_image: bool
    sizes: dict[str, int]
    def __init__(
        self,
        ops: list[tuple[str, Fields]],
        winograd_plans: list[Fields],
        tables: Array,
        input: Fields,
        output: Fields,
        sizes: dict[str, int],
        input_plane: Fields | None = None,
    ) -> None: ...
    def count_shards(self, n: int, n_threads: int) -> tuple[int, int]: ...
    def forward(self, X: Samples, rows: Array, params: Array, y: Array, workspace: Workspace) -> None: ...
    def backward(
        self,
        X: Samples,
        dy: Samples,
        rows: Array,
        params: Array,
        dx: Array,
        dparams: Array,
        workspace: Workspace,
    ) -> None: ...
    def loss(
        self,
        data: Dataset,
        rows: Array,
        params: Array,
        dx: Array | None,
        dparams: Array,
        workspace: Workspace,
        *,
        total: float,
        key: int = 0,
        turn: int = 0,
        step: int = 0,
    ) -> tuple[float, float]: ...
    def evaluate(
        self, data: Dataset, rows: Array, params: Array, workspace: Workspace
    ) -> tuple[float, float, float]: ...
    def profile(
        self, data: Dataset, rows: Array, params: Array, seconds: Array, workspace: Workspace
    ) -> None: ...
    def update_running_stats(self, workspace: Workspace, n: int, params: Array) -> None: ...
    def step(self, gradients: Array, rate: float, state: OptimizerState, workspace: Workspace) -> None: ...
    def train(
        self,
        data: Dataset,
        epoch: Epoch,
        first: int,
        end: int,
        state: OptimizerState,
        workspace: Workspace,
    ) -> tuple[float, float, float]: ...

class Engine(Protocol):
    lanes: int
    tile_width: int
    tile_height: int
    column_height: int
    channel_tile_height: int
    channel_tile_width: int
    kernel_rows: int
    activation_kinds: dict[str, int]
    optimizer_kinds: dict[str, int]
    loss_kinds: dict[str, int]
    merge_kinds: dict[str, int]
    Samples: type[Samples]
    Targets: type[Targets]
    Dataset: type[Dataset]
    Epoch: type[Epoch]
    OptimizerState: type[OptimizerState]
    Workspace: type[Workspace]
    Program: type[Program]

    @staticmethod
    def measure_peak(n_threads: int) -> float: ...
    @staticmethod
    def draw_random(key: int, n_elements: int, n_samples: int) -> tuple[Array, Array]: ...
