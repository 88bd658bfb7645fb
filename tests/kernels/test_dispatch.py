"""The choice of the engine and of the number of threads, and the engine after a fork."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest

import skconvnet
from skconvnet import functional, kernels, set_isa


def run(code, **environment):
    """Run Python code in a separate process and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return result.stdout.strip() or result.stderr.strip()


def test_the_widest_instruction_set_is_chosen():
    assert (
        run("from skconvnet import kernels; print(kernels.get_isa())", SKCONVNET_ISA="")
        == (kernels.list_isas()[0])
    )


def test_instruction_sets_have_the_names_of_their_processor():
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        assert kernels.list_isas() == ["neon"]
    else:
        wider = ["avx512", "avx2"] if machine in ("x86_64", "amd64") else []
        assert kernels.list_isas() == [isa for isa in wider if isa in kernels.list_isas()] + ["baseline"]
    for isa in kernels.list_isas():
        assert f'"{isa}"' in set_isa.__doc__ and f'"{isa}"' in kernels.list_isas.__doc__


@pytest.mark.parametrize("isa", kernels.list_isas())
def test_environment_overrides_the_choice(isa):
    code = "from skconvnet import kernels; print(kernels.get_machine('f4').__name__)"
    assert run(code, SKCONVNET_ISA=isa) == f"skconvnet.kernels._{isa}_float32"


def test_unknown_instruction_set():
    with pytest.raises(ValueError, match=f"no instruction set 'mmx' here.*{kernels.list_isas()[-1]}"):
        set_isa("mmx")
    assert "no instruction set 'sse9' here" in run("import skconvnet", SKCONVNET_ISA="sse9")


def test_thread_count():
    code = "from skconvnet.kernels import count_threads; print(count_threads())"
    has_openmp = kernels.cpu.has_openmp
    assert run(code, OMP_NUM_THREADS="3") == ("3" if has_openmp else "1")
    assert run(code, SKCONVNET_NUM_THREADS="5", OMP_NUM_THREADS="3") == ("5" if has_openmp else "1")
    assert kernels.count_threads(7) == (7 if has_openmp else 1)
    with pytest.raises(ValueError, match="n_threads must be an int of at least 1"):
        kernels.count_threads(-2)
    for wrong in ("0", "abc", "1.5"):
        assert "SKCONVNET_NUM_THREADS must be an int of at least 1" in run(code, SKCONVNET_NUM_THREADS=wrong)
    for wrong in (1.5, "2"):
        with pytest.raises(ValueError, match="n_threads must be an int"):
            kernels.count_threads(wrong)


def test_absurd_thread_counts_are_limited():
    most = max(16, 4 * os.cpu_count()) if kernels.cpu.has_openmp else 1
    assert kernels.count_threads(2**40) == most
    code = "from skconvnet.kernels import count_threads; print(count_threads())"
    assert run(code, OMP_NUM_THREADS="100000") == str(most)
    x = np.ones((40, 5))
    np.testing.assert_array_equal(functional.relu(x, n_threads=70000), x)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the test has to fork
def test_a_forked_child_computes_the_same():
    x = np.random.default_rng(0).standard_normal((200, 30))
    y = functional.dense(x, x[:9], n_threads=2)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        same = np.array_equal(functional.dense(x, x[:9], n_threads=2), y)
        os.write(write, b"same" if same else b"other")
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "same"
    os.waitpid(child, 0)


def test_importing_does_not_flush_denormal_numbers():
    code = "import numpy as np, skconvnet; print(np.float32(1e-40) * np.float32(1) != 0)"
    assert run(code) == "True"


def find_version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def test_show_versions():
    text = run("import skconvnet; skconvnet.show_versions()", SKCONVNET_NUM_THREADS="1")
    isas = ", ".join(kernels.list_isas())
    for what in ("python", "numpy", "scipy", "sklearn"):
        assert re.search(rf"^ *{what}: \d", text, re.MULTILINE)
    for line in (
        f"skconvnet: {skconvnet.__version__}",
        f"  instruction set: {kernels.get_isa()} of {isas}",
        "  threads: 1",
        f"  built with OpenMP: {kernels.cpu.has_openmp}",
        *(
            f"  {package}: {find_version(package)}"
            for package in ("safetensors", "matplotlib", "onnx", "dask", "distributed")
        ),
    ):
        assert line in text.splitlines()
