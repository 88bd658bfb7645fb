"""An estimate of how evenly threads share the work of a training step."""

from collections.abc import Sequence
from dataclasses import dataclass

# Vector multiply-adds in the time that threads take to wait for each other: BARRIER_WORK of region.pxd.
BARRIER_WORK = 4000


@dataclass(frozen=True)
class Work:
    """The work of a call on a block: n_units units of `unit` vector multiply-adds, which threads divide.

    Units come in groups of `group`; a thread spends `setup` more for each group of which it has any units.
    """

    unit: float
    n_units: int
    group: int = 0
    setup: float = 0

    def count(self, first: int, end: int) -> float:
        """Return the vector multiply-adds of the units from first to end, by one thread."""
        n_groups = -(-end // self.group) - first // self.group if self.group and end > first else 0
        return (end - first) * self.unit + n_groups * self.setup

    @property
    def total(self) -> float:
        """The vector multiply-adds of all units, by one thread."""
        return self.count(0, self.n_units)


def count_busiest(work: Work, n_shards: int, n_threads: int) -> float:
    """Return the multiply-adds of the busiest of the threads that share shards of one block.

    As in region.pxd, each shard is cut into n_threads parts, and a thread has n_shards neighbouring ones.
    """
    busiest = 0.0
    for thread in range(n_threads):
        mine = 0.0
        for shard in range(n_shards):
            low = min(max(thread * n_shards - shard * n_threads, 0), n_threads)
            high = min(max((thread + 1) * n_shards - shard * n_threads, 0), n_threads)
            mine += work.count(work.n_units * low // n_threads, work.n_units * high // n_threads)
        busiest = max(busiest, mine)
    return busiest


def estimate_balance(
    tasks: Sequence[Sequence[Work]], n_synchronizations: int, shards: tuple[int, int, int], n_threads: int
) -> float:
    """Estimate the mean work of the threads over the time of a step; 1 if none of them ever waits.

    tasks: the work of each on a block; threads that share it wait for each other after each task;
    n_synchronizations: of threads that share nothing; shards: those that have one thread each, those that all
    threads share, and the blocks of a shard.
    """
    n_whole, n_shared, n_blocks = shards
    works = [work for task in tasks for work in task]
    block = sum(work.total for work in works)
    time = n_synchronizations * BARRIER_WORK + -(-n_whole // n_threads) * n_blocks * block
    if n_shared:
        waits = len(tasks) * BARRIER_WORK
        time += n_blocks * (sum(count_busiest(work, n_shared, n_threads) for work in works) + waits)
    return (n_whole + n_shared) * n_blocks * block / n_threads / time
