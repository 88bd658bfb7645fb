"""What runs here, for reports of problems."""

from importlib.metadata import version

import sklearn

from skconvnet import kernels
from skconvnet.kernels import cpu

__version__ = version("skconvnet")


def show_versions() -> None:
    """Print the versions of skconvnet and what it stands on, and what its kernels run with."""
    sklearn.show_versions()
    print("\nskconvnet:", __version__)
    print("  instruction set:", kernels.get_isa(), "of", ", ".join(kernels.list_isas()))
    print("  threads:", kernels.count_threads())
    print("  built with OpenMP:", cpu.has_openmp)
