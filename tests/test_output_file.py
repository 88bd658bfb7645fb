"""Files are written completely or not at all, and nothing but files is replaced."""

import fcntl
import os
import stat

import numpy as np
import pytest

from skconvnet import ConvNetClassifier, _output_file, load
from skconvnet._output_file import replace_file


def read(path):
    """Return a file's bytes."""
    with open(path, "rb") as file:
        return file.read()


@pytest.fixture(params=["unnamed", "named"])
def temporary(request, monkeypatch):
    """Temporary files without a name, where the system has them, and with one."""
    if request.param == "named":
        monkeypatch.setattr(_output_file, "_UNNAMED", None)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("temporary")
class TestContent:
    @pytest.mark.parametrize("path", ["model", b"model", "m" * 255, "é" * 127, os.path.join(".", "model")])
    def test_any_path(self, path, folder):
        for content in (b"first", b"second"):
            replace_file(path, [content[:2], memoryview(content)[2:]])
            assert read(path) == content
        assert len(os.listdir(folder)) == 1

    def test_failure_leaves_the_old_file(self, folder):
        replace_file("model", [b"old"])

        def fail():
            yield b"new"
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            replace_file("model", fail())
        assert os.listdir(folder) == ["model"] and read("model") == b"old"

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o666, 0o777])
    def test_permissions_are_kept(self, mode):
        replace_file("model", [b"old"])
        os.chmod("model", mode)
        modes = []

        def look():
            modes.extend(stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir())
            yield b"new"

        replace_file("model", look())
        assert stat.S_IMODE(os.stat("model").st_mode) == mode
        assert all(found & ~mode == 0 for found in modes)  # the temporary file is not more open

    def test_new_files_obey_the_umask(self):
        before = os.umask(0o027)
        try:
            replace_file("model", [b""])
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat("model").st_mode) == 0o640


class TestTarget:
    def test_read_only(self):
        replace_file("model", [b"old"])
        os.chmod("model", 0o444)
        with pytest.raises(PermissionError, match="model' is read-only"):
            replace_file("model", [b"new"])
        assert read("model") == b"old"

    def test_special_files(self, folder):
        os.mkfifo("pipe")
        for path in ("pipe", "/dev/null"):
            kind = stat.S_IFMT(os.stat(path).st_mode)
            with pytest.raises(OSError, match="a device, pipe or socket"):
                replace_file(path, [b"new"])
            assert stat.S_IFMT(os.stat(path).st_mode) == kind
        with pytest.raises(IsADirectoryError, match="is a folder"):
            replace_file(folder, [b"new"])
        assert os.listdir(folder) == ["pipe"]

    def test_links_are_followed(self, folder):
        replace_file("model", [b"old"])
        os.symlink("model", "link")
        replace_file("link", [b"new"])
        assert os.path.islink("link") and read("model") == b"new"


class TestLeftOver:
    def make(self):
        """Return a temporary file such as a killed process leaves."""
        found = []

        def look():
            found.extend(name for name in os.listdir() if name.endswith(".tmp"))
            yield b""

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_output_file, "_UNNAMED", None)
            replace_file("model", look())
        (name,) = found
        open(name, "wb").close()
        return name

    def test_the_next_write_of_the_same_target_removes_it(self):
        name = self.make()
        replace_file("other", [b""])
        assert os.path.exists(name)
        replace_file("model", [b""])
        assert sorted(os.listdir()) == ["model", "other"]

    def test_a_file_that_is_being_written_stays(self):
        name = self.make()
        with open(name, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            replace_file("model", [b""])
        assert os.path.exists(name)


def test_equal_estimators_have_files_of_equal_bytes(folder):
    X, y = np.random.RandomState(0).rand(20, 6, 6), np.arange(20) % 2
    clf = ConvNetClassifier(max_iter=1, random_state=0).fit(X, y)
    contents = set()
    for k in range(8):
        clf.save(os.fsencode(folder / f"model{k}"))
        contents.add((folder / f"model{k}").read_bytes())
        assert (load(os.fsencode(folder / f"model{k}")).predict(X) == clf.predict(X)).all()
    assert len(contents) == 1
