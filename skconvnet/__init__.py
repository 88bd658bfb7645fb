"""Convolutional networks on the CPU for people who work with scikit-learn."""

import importlib
from types import ModuleType

from skconvnet._advice import explain_import
from skconvnet._classifier import ConvNetClassifier
from skconvnet._convert import from_onnx, to_onnx
from skconvnet._files import load
from skconvnet._regressor import ConvNetRegressor
from skconvnet._transformer import ConvNetTransformer
from skconvnet._versions import __version__, show_versions
from skconvnet.kernels import set_isa

__all__ = [
    "ConvNetClassifier",
    "ConvNetRegressor",
    "ConvNetTransformer",
    "__version__",
    "from_onnx",
    "load",
    "set_isa",
    "show_versions",
    "to_onnx",
]

# Public modules. A module that is not imported yet is imported at the first access.
_MODULES = (
    "architectures",
    "dask",
    "datasets",
    "functional",
    "initializers",
    "kernels",
    "layers",
    "losses",
    "optimizers",
    "plotting",
    "profile",
    "schedules",
)


def __getattr__(name: str) -> ModuleType:
    """Import a public module at its first access, so that `import skconvnet` is sufficient."""
    if name not in _MODULES:
        raise explain_import(__name__, name, __dir__())
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    """Return the public names, including modules that are not imported yet."""
    return sorted([*__all__, *_MODULES])
