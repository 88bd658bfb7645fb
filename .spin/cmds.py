"""The commands of spin: what .ci/run and the workflows run, too."""

import os
import re
import tempfile
from contextlib import chdir
from pathlib import Path

import click
from spin.cmds.util import run


@click.command()
@click.argument("meson_options", nargs=-1)
def build(*, meson_options):
    """Install the package for work on it, with its tools; bench and docs also need the extra `bench`.

    The import then builds again what changed. MESON_OPTIONS follow two dashes:

      spin build -- -Dopenmp=disabled
    """
    options = [f"-Csetup-args={option}" for option in meson_options]
    run(["pip", "install", "--no-build-isolation", *options, "-e", ".[test,examples,dev]"])


@click.command()
@click.option("--quick", is_flag=True, help="Only one case of every test that is not slow.")
@click.argument("pytest_args", nargs=-1)
def test(*, quick, pytest_args):
    """Test the package that is installed, in two processes of one thread.

    PYTEST_ARGS follow two dashes:

      spin test -- -n 0 --pdb -k dask
    """
    run(["pytest", "-q", "-n", "2", *(["-m", "quick"] if quick else []), *pytest_args])


@click.command()
def lint():
    """Check style, types, spelling, retired words and workflows, as .pre-commit-config.yaml says."""
    run(["pre-commit", "run", "--all-files"])


@click.command()
def docs():
    """Run the examples of docstrings, the guide's code, and the program that draws pictures."""
    code = re.findall(r"^```python\n(.*?)^```", Path("doc/guide.md").read_text(), re.M | re.S)
    plots = os.path.abspath("doc/examples/plots.py")
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        run(["pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", "--pyargs", "skconvnet"])
        Path("guide.py").write_text("\n".join(code))
        run(["python", "guide.py"])
        run(["python", plots])


@click.command()
def bench():
    """Run every benchmark of the suite once: whether it runs, not how fast."""
    with tempfile.TemporaryDirectory() as folder, chdir("benchmarks"):
        os.environ["HOME"] = folder  # where asv keeps what it knows of the machine
        run(["asv", "machine", "--yes"], output=False)
        run(["asv", "check", "--python=same"])
        # a fork starts sooner than an interpreter, but has one thread
        options = ["--quick", "--python=same", "--show-stderr", "--launch-method=forkserver"]
        run(["asv", "run", *options])
        run(["python", "-P", "augmentation.py", "--rounds", "3", "--samples", "1000"])


@click.command()
@click.argument("pytest_args", nargs=-1)
def coverage(*, pytest_args):
    """Say which lines of Python and Cython the tests run, with GCC; `spin build` then undoes its build."""
    options = ["--force-reinstall", "-Cbuild-dir=build/coverage", "-Csetup-args=-Db_coverage=true"]
    run(["pip", "install", "--no-build-isolation", "--no-deps", *options, "."])
    for counts in [*Path("build/coverage").rglob("*.gcda"), *Path("build").glob(".coverage*")]:
        counts.unlink()
    os.environ["COVERAGE_FILE"] = os.path.abspath("build/.coverage")
    os.environ["PYTHONSAFEPATH"] = "1"
    run(["coverage", "run", "-m", "pytest", "-q", "-n", "2", *pytest_args], sys_exit=False)
    run(["coverage", "combine", "--quiet"])
    run(["coverage", "report", "--show-missing"])
    run(["python", ".ci/coverage.py", "build/coverage"])
