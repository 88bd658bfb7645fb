"""A process that is killed while it writes a file leaves the old file or the new one, and nothing else."""

import os
import random
import signal
import time

import pytest

from skconvnet import _output_file

# SKCONVNET_TRIES=1000 pytest tests/faults is the long form.
N_TRIES = int(os.environ.get("SKCONVNET_TRIES", "20"))
SIZE = 20_000_000


def write_for_ever(path):
    """Write one file after the other, each of equal bytes."""
    k = 0
    while True:
        k += 1
        _output_file.replace_file(path, [bytes([k % 256]) * (SIZE // 100)] * 100)


@pytest.mark.parametrize("kind", ["unnamed", "named"])
def test_kills_while_writing(tmp_path, monkeypatch, kind):
    if kind == "named":
        monkeypatch.setattr(_output_file, "_UNNAMED", None)
    path = tmp_path / "model"
    path.write_bytes(bytes(SIZE))
    rng, n_old, n_left = random.Random(0), 0, 0
    for _ in range(N_TRIES):
        before = path.stat().st_ino
        child = os.fork()
        if child == 0:
            write_for_ever(path)
        time.sleep(rng.uniform(0, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        content = path.read_bytes()
        assert content == content[:1] * SIZE
        n_old += path.stat().st_ino == before
        left = len(os.listdir(tmp_path)) - 1
        assert left <= 1  # the next write removes it
        n_left += left
    if kind == "named":
        assert n_left > 0  # processes were killed in the middle
    else:
        assert n_left <= N_TRIES // 20  # between two system calls, or never
    assert n_old < N_TRIES
    _output_file.replace_file(path, [b""])
    assert os.listdir(tmp_path) == ["model"]
