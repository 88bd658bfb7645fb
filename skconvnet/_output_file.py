"""Files that are written completely or not at all.

The content goes to a temporary file in the target's folder, which then takes the target's place. Where the
system has files without a name (O_TMPFILE), the temporary one gets its name when it is complete. Its writer
locks it; so a file without a lock was left by a process that was killed, and the next write of the same
target removes it.
"""

import contextlib
import hashlib
import os
import stat
import uuid
from collections.abc import Iterable
from typing import BinaryIO

from skconvnet._types import Path

try:
    import fcntl
except ImportError:  # on Windows, an open file cannot be removed, which serves as its lock
    fcntl = None  # type: ignore[assignment]

_UNNAMED = getattr(os, "O_TMPFILE", None)


def replace_file(path: Path | bytes, parts: Iterable[bytes | memoryview]) -> None:
    """Replace a file by some bytes atomically: a reader sees the old or the new content, never a mixture.

    The file keeps its permissions. If it cannot be written, or the target is not a file, raise an OSError and
    leave everything as it is.
    """
    target = os.path.realpath(os.fsdecode(path))
    mode = _check_target(target)
    folder, name = os.path.split(target)
    prefix = f".skconvnet-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}-"
    _remove_left_over(folder, prefix)
    temporary = os.path.join(folder, f"{prefix}{uuid.uuid4().hex}.tmp")
    file = _open_temporary(temporary, 0o666 if mode is None else mode)
    try:
        with file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
            if not os.path.exists(temporary):
                _add_name(file, temporary)
            if mode is not None:
                os.chmod(temporary, mode)
            if fcntl is None:
                file.close()
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _check_target(target: str) -> int | None:
    """Return the permissions of the file that is to be replaced, None if there is none yet, or refuse it."""
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder!r} to write {name} to. Create it first.")
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{target!r} is a folder. Give the path of a file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{target!r} is a device, pipe or socket, which would be replaced. Give a file.")
    if not status.st_mode & 0o222 or not os.access(target, os.W_OK):
        raise PermissionError(f"{target!r} is read-only. Make it writable, or give another path.")
    return stat.S_IMODE(status.st_mode)


def _open_temporary(path: str, mode: int) -> BinaryIO:
    """Return a new file that is locked; it has no name yet where the system allows that."""
    if _UNNAMED is not None:
        with contextlib.suppress(OSError):  # not every file system has such files
            return _lock(open(os.open(os.path.dirname(path), _UNNAMED | os.O_WRONLY, mode), "wb"))
    return _lock(open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)))


def _lock(file: BinaryIO) -> BinaryIO:
    """Lock a file for as long as it is open."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _add_name(file: BinaryIO, name: str) -> None:
    """Add a name to a file that has none."""
    folder = os.open(os.path.dirname(name), os.O_RDONLY)
    try:
        # with a folder, the symbolic link in /proc is followed
        os.link(f"/proc/self/fd/{file.fileno()}", os.path.basename(name), dst_dir_fd=folder)
    finally:
        os.close(folder)


def _remove_left_over(folder: str, prefix: str) -> None:
    """Remove the temporary files of processes that were killed: those without a lock."""
    names = [name for name in os.listdir(folder) if name.startswith(prefix) and name.endswith(".tmp")]
    for name in names:
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):  # locked, or removed already
            with open(path, "rb") as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
            if fcntl is None:
                os.unlink(path)
