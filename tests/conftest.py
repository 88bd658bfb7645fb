"""Settings and fixtures for all tests."""

import os

# scikit-learn skips its array API check without this, and SciPy reads it when it is imported
os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import pytest

from skconvnet import kernels


@pytest.fixture(params=kernels.list_isas())
def isa(request):
    """Every instruction set of this machine, one after the other."""
    chosen = kernels.get_isa()
    kernels.set_isa(request.param)
    yield request.param
    kernels.set_isa(chosen)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    """Both inverse_variances."""
    return request.param
