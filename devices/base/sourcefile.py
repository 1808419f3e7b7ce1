"""Python files of one's own, loaded by their paths: a plug-in, a network, a data set.

A file stands alone: what it imports is installed, never a file beside it. So its own SHA-256 tells what it does.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from devices.base.errors import TestbedError

_NAME_DIGITS = 12


def source_sha256(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        TestbedError: it cannot be read.
    """
    return hashlib.sha256(_read(path)).hexdigest()


def load_file(path: Path) -> ModuleType:
    """The module that a Python file makes; the same one as long as the file stays the same.

    Raises:
        TestbedError: it cannot be read, or raises while it is run; the text begins with `FILE:LINE`.
    """
    source = _read(path)
    # Of the path too: tracebacks name it, and two files that are alike may stand at different places.
    digest = hashlib.sha256(f"{path.resolve()}\n".encode() + source).hexdigest()[:_NAME_DIGITS]
    name = f"testbed_file_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # type hints of its classes are looked up there
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102  (importlib would keep bytecode by the second)
    except Exception as error:
        del sys.modules[name]
        raise TestbedError(f"{blamed(path, error)}: cannot be loaded: {kind_and_text(error)}") from error
    return module


def blamed(path: Path, error: BaseException) -> str:
    """`FILE:LINE` of the last line of a file that led to an error; the file alone where none did."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def kind_and_text(error: BaseException) -> str:
    """An error in one line: its kind, and what it says."""
    said = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TestbedError(f"{path}: cannot be read: {error.strerror}") from error
