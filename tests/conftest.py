"""Settings and fixtures for all tests."""

import os

# scikit-learn skips its array API check without this, and SciPy reads it when it is imported
os.environ["SCIPY_ARRAY_API"] = "1"
# Dask's profiler calls sys._current_frames 100 times a second, which may deadlock in Python 3.11 (gh-106883)
os.environ["DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"] = "False"
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes, which share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest

from skconvnet import kernels

# they start processes, draw pictures, or need other packages
SLOW = {"test_dispatch.py", "test_dask.py", "test_plotting.py", "test_ecosystem.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark as quick the first case of every test that is not in a slow file."""
    first = {}
    for item in items:
        if item.path.name not in SLOW:
            first.setdefault(item.nodeid.partition("[")[0], item)
    for item in first.values():
        item.add_marker("quick")


@pytest.fixture(params=kernels.list_isas())
def isa(request):
    """Every instruction set of this machine, one after the other."""
    chosen = kernels.get_isa()
    kernels.set_isa(request.param)
    yield request.param
    kernels.set_isa(chosen)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    """Both floating-point types."""
    return request.param
