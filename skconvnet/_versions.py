"""Versions and settings, for reports of problems."""

from importlib.metadata import PackageNotFoundError, version

import sklearn

from skconvnet import kernels
from skconvnet.kernels import cpu

__version__ = version("skconvnet")

# Packages that only some features need.
OPTIONAL = ("dask", "distributed", "matplotlib", "onnx", "safetensors", "skl2onnx")


def show_versions() -> None:
    """Print the versions of skconvnet and its dependencies, and the settings of its kernels.

    It prints Python, NumPy, SciPy and scikit-learn as :func:`sklearn.show_versions` does, the packages that
    only some features need, the chosen instruction set and those that can run on this processor, the number
    of threads, and whether there is OpenMP.

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
    """Return the version of a package without importing it; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
