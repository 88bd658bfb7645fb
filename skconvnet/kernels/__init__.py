"""The kernels: their engine for a precision, its instruction set, and the number of threads."""

from skconvnet.kernels.dispatch import count_threads, get_engine, get_isa, get_machine, list_isas, set_isa

__all__ = ["count_threads", "get_engine", "get_isa", "get_machine", "list_isas", "set_isa"]
