"""Convolutional networks on the CPU for people who work with scikit-learn."""

from importlib.metadata import version

from skconvnet._classifier import ConvNetClassifier
from skconvnet._versions import show_versions
from skconvnet.kernels import set_isa

__version__ = version("skconvnet")
__all__ = ["ConvNetClassifier", "set_isa", "show_versions"]
