"""What runs here, for reports of problems."""

from importlib.metadata import PackageNotFoundError, version

import sklearn

from skconvnet import kernels
from skconvnet.kernels import cpu

__version__ = version("skconvnet")

# What some features need and others do without.
OPTIONAL = ("dask", "distributed", "matplotlib", "onnx", "safetensors")


def show_versions() -> None:
    """Print the versions of skconvnet and what it stands on, and what its kernels run with.

    That is Python, NumPy, SciPy and scikit-learn, as :func:`sklearn.show_versions` prints them; packages that
    some features need; the instruction set, of those that could run here; threads and OpenMP.

    Examples
    --------
    >>> import skconvnet
    >>> skconvnet.show_versions()  # doctest: +SKIP
    """
    sklearn.show_versions()
    print("\nskconvnet:", __version__)
    for package in OPTIONAL:
        print(f"  {package}:", _find_version(package))
    print("  instruction set:", kernels.get_isa(), "of", ", ".join(kernels.list_isas()))
    print("  threads:", kernels.count_threads())
    print("  built with OpenMP:", cpu.has_openmp)


def _find_version(package: str) -> str | None:
    """Give the version of a package, None if it is not installed, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
