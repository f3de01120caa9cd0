"""A layer under SQLite's own file layer, in the very library that Python's `sqlite3` uses: a watcher sees every change of a file before it is made.

SQLite reaches files through a VFS. The one it has ("unix") is copied here, and the copy is made the default; of it only opening, writing, cutting,
syncing, closing and deleting pass through Python. The index of a write-ahead log (`-shm`) is memory that processes share: it does not come by here.
Nothing is truly synced: what a process wrote outlives it anyway, and what a loss of power does is done by hand.
"""

import ctypes
import gc
import os
import sqlite3
import sqlite3.dbapi2
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from ctypes import c_char_p, c_int, c_int64, c_void_p
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Protocol

BROKEN: Final = 99
OK: Final = 0
DIRECTORY_TOO: Final = 0x00800 | 0x04000 | 0x80000
"""Opened as a journal, a super-journal or a write-ahead log: the first sync of such a file makes its name durable too."""
METHODS: Final = (
    "xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock", "xCheckReservedLock", "xFileControl", "xSectorSize",
    "xDeviceCharacteristics", "xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap", "xFetch", "xUnfetch",
)  # fmt: skip
OF_THE_LAYER: Final = (
    "xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose", "xRandomness", "xSleep", "xCurrentTime", "xGetLastError",
    "xCurrentTimeInt64", "xSetSystemCall", "xGetSystemCall", "xNextSystemCall",
)  # fmt: skip


class Methods(ctypes.Structure):
    """sqlite3_io_methods: what can be done with an open file."""

    _fields_ = (("iVersion", c_int), *((name, c_void_p) for name in METHODS))


class OpenFile(ctypes.Structure):
    """sqlite3_file: an open file begins with its methods."""

    _fields_ = (("pMethods", ctypes.POINTER(Methods)),)


class Layer(ctypes.Structure):
    """sqlite3_vfs."""

    _fields_ = (
        ("iVersion", c_int), ("szOsFile", c_int), ("mxPathname", c_int), ("pNext", c_void_p), ("zName", c_char_p), ("pAppData", c_void_p),
        *((name, c_void_p) for name in OF_THE_LAYER),
    )  # fmt: skip


# The path is a pointer: the file layer looks for parameters behind its end, which a copy would not have.
OPEN: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
DELETE: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
CLOSE: Final = ctypes.CFUNCTYPE(c_int, c_void_p)
READ: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
WRITE: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
TRUNCATE: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_int64)
SYNC: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_int)
SIZE: Final = ctypes.CFUNCTYPE(c_int, c_void_p, ctypes.POINTER(c_int64))


class Watcher(Protocol):
    """What sees the calls. Each is told before it is made, one at a time; a file without a name (`None`) is SQLite's own for a moment."""

    def refused(self, call: str, path: Path | None) -> int:
        """An error of SQLite's instead of the call ("open", "write", "truncate", "sync", "delete"), or 0."""

    def opened(self, path: Path, *, created: bool) -> None:
        """A file is open."""

    def wrote(self, path: Path, offset: int, old: bytes, new: bytes) -> None:
        """`new` is about to stand where `old` (shorter, where the file ends) stands."""

    def cut(self, path: Path, size: int, tail: bytes) -> None:
        """The file is about to lose its tail."""

    def synced(self, path: Path, *, name_too: bool) -> None:
        """What was written is durable; the directory as well."""

    def removed(self, path: Path, *, durably: bool) -> None:
        """The file is about to lose its name."""


def library() -> str | None:
    """The path of the SQLite that this Python is linked to; None where it is part of Python itself, or cannot be found."""
    connection = sqlite3.connect(":memory:")
    source = connection.execute("SELECT sqlite_source_id()").fetchone()[0]
    connection.close()
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    for path in sorted({line.split(maxsplit=5)[5] for line in lines if "libsqlite3" in line}):
        found = ctypes.CDLL(path)
        found.sqlite3_sourceid.restype = c_char_p
        if found.sqlite3_sourceid().decode() == source:
            return path
    return None


class _Watched:
    """An open file: its name, and its true methods."""

    def __init__(self, path: Path | None, methods: Methods, flags: int) -> None:
        self.path = path
        self.flags = flags
        self.close, self.read = CLOSE(methods.xClose), READ(methods.xRead)
        self.write, self.truncate = WRITE(methods.xWrite), TRUNCATE(methods.xTruncate)
        self._size = SIZE(methods.xFileSize)

    def size(self, file: int) -> int:
        found = c_int64()
        self._size(file, ctypes.byref(found))
        return found.value

    def part(self, file: int, offset: int, length: int) -> bytes:
        """What stands there now, as far as the file goes."""
        length = max(0, min(length, self.size(file) - offset))
        buffer = ctypes.create_string_buffer(length)
        if length:
            self.read(file, ctypes.addressof(buffer), length, offset)
        return buffer.raw


class Shim:
    """The registered layer. Nothing of it may be let go while SQLite can call it."""

    def __init__(self, watcher: Watcher) -> None:
        path = library()
        assert path, "SQLite is not a library of its own here"
        self._sqlite = ctypes.CDLL(path)
        self._sqlite.sqlite3_vfs_find.restype = ctypes.POINTER(Layer)
        self._watcher = watcher
        self._lock = threading.RLock()
        self._files: dict[int, _Watched] = {}
        self._tables: dict[int, Methods] = {}
        true = self._sqlite.sqlite3_vfs_find(None).contents
        self._open, self._delete = OPEN(true.xOpen), DELETE(true.xDelete)
        self._ours = {
            "xClose": CLOSE(self._guarded(self._on_close)), "xWrite": WRITE(self._guarded(self._on_write)),
            "xTruncate": TRUNCATE(self._guarded(self._on_truncate)), "xSync": SYNC(self._guarded(self._on_sync)),
        }  # fmt: skip
        self._layer = Layer.from_buffer_copy(true)
        self._on = {"xOpen": OPEN(self._guarded(self._on_open)), "xDelete": DELETE(self._guarded(self._on_delete))}
        _point(self._layer, self._on)
        self._layer.zName, self._layer.pNext = b"watched", None

    def register(self) -> None:
        """From here on every connection that is opened goes through the layer."""
        assert self._sqlite.sqlite3_vfs_register(ctypes.byref(self._layer), 1) == OK

    def _guarded(self, call: Callable[..., int]) -> Callable[..., int]:
        """One call at a time; a mistake of ours ends the process, since SQLite would take it for success."""

        def guarded(*args: Any) -> int:
            try:
                with self._lock:
                    return call(*args)
            except BaseException:
                traceback.print_exc()
                os._exit(BROKEN)

        return guarded

    def _on_open(self, _layer: int, name: int | None, file: int, flags: int, told: int) -> int:
        path = Path(os.fsdecode(ctypes.string_at(name))) if name else None
        opened = ctypes.cast(file, ctypes.POINTER(OpenFile)).contents
        if refused := self._watcher.refused("open", path):
            opened.pMethods = ctypes.POINTER(Methods)()
            return refused
        created = path is not None and not path.exists()
        code = self._open(ctypes.addressof(self._layer), name, file, flags, told)
        if code == OK:
            self._files[file] = _Watched(path, opened.pMethods.contents, flags)
            opened.pMethods = ctypes.pointer(self._table(opened.pMethods.contents))
            if path is not None:
                self._watcher.opened(path, created=created)
        return code

    def _table(self, true: Methods) -> Methods:
        """The same methods with ours among them; SQLite has one table for each way of locking."""
        at = ctypes.addressof(true)
        if at not in self._tables:
            self._tables[at] = Methods.from_buffer_copy(true)
            _point(self._tables[at], self._ours)
        return self._tables[at]

    def _on_close(self, file: int) -> int:
        return self._files.pop(file).close(file)

    def _on_write(self, file: int, data: int, length: int, offset: int) -> int:
        watched = self._files[file]
        if refused := self._watcher.refused("write", watched.path):
            # A disk that fails, or is full, has often taken a part.
            watched.write(file, data, length // 2, offset)
            return refused
        if watched.path is not None:
            self._watcher.wrote(watched.path, offset, watched.part(file, offset, length), ctypes.string_at(data, length))
        return watched.write(file, data, length, offset)

    def _on_truncate(self, file: int, size: int) -> int:
        watched = self._files[file]
        if refused := self._watcher.refused("truncate", watched.path):
            return refused
        if watched.path is not None:
            self._watcher.cut(watched.path, size, watched.part(file, size, watched.size(file)))
        return watched.truncate(file, size)

    def _on_sync(self, file: int, _flags: int) -> int:
        watched = self._files[file]
        if refused := self._watcher.refused("sync", watched.path):
            return refused
        if watched.path is not None:
            self._watcher.synced(watched.path, name_too=bool(watched.flags & DIRECTORY_TOO))
        return OK

    def _on_delete(self, _layer: int, name: bytes, sync_directory: int) -> int:
        path = Path(os.fsdecode(name))
        if refused := self._watcher.refused("delete", path):
            return refused
        self._watcher.removed(path, durably=bool(sync_directory))
        return self._delete(ctypes.addressof(self._layer), name, 0)


def _point(table: ctypes.Structure, to: dict[str, Any]) -> None:
    for name, function in to.items():
        setattr(table, name, ctypes.cast(function, c_void_p))


class _Cursor(sqlite3.Cursor):
    """A cursor that is closed before it is taken apart: where that happens on the way of an exception, nothing may call back into Python.

    A finaliser written in Python is run with the exception put aside, which those of `sqlite3` are not.
    """

    def __del__(self) -> None:
        with suppress(sqlite3.Error):
            self.close()


class _Connection(sqlite3.Connection):
    """The same for a connection."""

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def __del__(self) -> None:
        with suppress(sqlite3.Error):
            self.close()


@cache
def watch(watcher: Watcher) -> Shim:
    """Put the watcher under every connection that this process opens from here on; it cannot be taken away. For a child that ends with its test."""
    shim = Shim(watcher)
    shim.register()
    sqlite3.connect = sqlite3.dbapi2.connect = partial(sqlite3.connect, factory=_Connection)
    # A collection in the middle of a call could close another connection, and wait for a thread that waits for this call.
    gc.disable()
    return shim
