"""The choice of the engine and of the number of threads.

The engine (`engine.pyx`) is compiled once for every instruction set and precision, into modules with
names like ``_avx2_float32``.  At import, the widest instruction set that the processor supports is
chosen; the environment variable ``SKCONVNET_ISA`` (``avx512``, ``avx2`` or ``baseline``; ``neon`` on
aarch64) overrides the choice.
"""

import importlib
import importlib.util
import os
from numbers import Integral
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from numpy.typing import DTypeLike

from skconvnet.kernels import cpu

if TYPE_CHECKING:
    from skconvnet.kernels.engine import Engine

_in_forked_child = False
_isa: str


def _mark_forked_child() -> None:
    # The OpenMP runtime of GCC does not survive a fork: if the parent has started a team of threads,
    # a child that starts one hangs.  With one thread there is no team.
    global _in_forked_child
    _in_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked_child)


def list_isas() -> list[str]:
    """List the instruction sets of this build that this processor supports, the widest first.

    Returns
    -------
    isas : list of str
        Some of "avx512", "avx2", "baseline"; on aarch64 "neon".
    """
    return [
        isa
        for isa in cpu.list_runnable_isas()
        if importlib.util.find_spec(f"skconvnet.kernels._{isa}_float32")
    ]


def set_isa(isa: str) -> None:
    """Choose the instruction set of the kernels, for this process.

    Results differ in their last bits between instruction sets that fuse multiply and add
    ("avx2", "avx512", "neon") and one that does not ("baseline" on x86-64).

    Parameters
    ----------
    isa : {"avx512", "avx2", "baseline", "neon"}
        One of `list_isas`: "neon" is that of aarch64, the others are those of x86-64; any other
        processor has "baseline".

    Raises
    ------
    ValueError
        If this processor or this build has no such instruction set.

    Examples
    --------
    >>> from skconvnet.kernels import get_isa, list_isas, set_isa
    >>> chosen = get_isa()
    >>> narrowest = list_isas()[-1]  # "baseline" on x86-64
    >>> set_isa(narrowest)
    >>> get_isa() == narrowest
    True
    >>> set_isa(chosen)
    """
    global _isa
    if isa not in list_isas():
        raise ValueError(
            f"SKCONVNET_ISA / set_isa: no instruction set {isa!r} here. "
            f"This build on this processor has: {', '.join(list_isas())}."
        )
    _isa = isa


def get_isa() -> str:
    """Return the name of the instruction set that the kernels use.

    Returns
    -------
    isa : str
    """
    return _isa


def get_engine(dtype: DTypeLike) -> "Engine":
    """Return the module of compiled kernels for a precision and the chosen instruction set.

    Parameters
    ----------
    dtype : dtype
        Either float32 or float64.

    Returns
    -------
    engine : module
    """
    engine: Any = importlib.import_module(f"skconvnet.kernels._{_isa}_{np.dtype(dtype).name}")
    return engine


get_machine = get_engine  # an older name of the public function


def count_threads(n_threads: int | None = None) -> int:
    """Resolve the number of OpenMP threads.

    Parameters
    ----------
    n_threads : int or None, default=None
        None means ``SKCONVNET_NUM_THREADS`` if set; else ``OMP_NUM_THREADS`` if set; else the number of
        physical cores that this process may use.  Results do not depend on it.

    Returns
    -------
    n_threads : int
        At least 1; at most 16 or four times the number of processors, since more threads only slow each
        other down.  Always 1 in a forked child and in a build without OpenMP.

    Raises
    ------
    ValueError
        If n_threads or the environment variable is below 1.
    """
    source = "n_threads"
    requested: Any = n_threads
    if n_threads is None and os.environ.get("SKCONVNET_NUM_THREADS"):
        source, requested = "SKCONVNET_NUM_THREADS", os.environ["SKCONVNET_NUM_THREADS"]
        requested = int(requested) if requested.isdecimal() else requested
    if requested is not None and (not isinstance(requested, Integral) or requested < 1):
        raise ValueError(f"{source} must be an int of at least 1 or None, got {requested!r}.")
    if _in_forked_child or not cpu.has_openmp:
        return 1
    most = max(16, 4 * (os.cpu_count() or 1))
    if requested is not None:
        return min(int(requested), most)
    if os.environ.get("OMP_NUM_THREADS"):
        return min(cpu.get_max_threads(), most)
    return min(cpu.get_max_threads(), joblib.cpu_count(only_physical_cores=True))


set_isa(os.environ.get("SKCONVNET_ISA") or list_isas()[0])
