"""Convolutional networks on the CPU for people who work with scikit-learn."""

from skconvnet._classifier import ConvNetClassifier
from skconvnet._files import load
from skconvnet._onnx import to_onnx
from skconvnet._regressor import ConvNetRegressor
from skconvnet._transformer import ConvNetTransformer
from skconvnet._versions import __version__, show_versions
from skconvnet.kernels import set_isa

__all__ = [
    "ConvNetClassifier",
    "ConvNetRegressor",
    "ConvNetTransformer",
    "__version__",
    "load",
    "set_isa",
    "show_versions",
    "to_onnx",
]
