"""Reads the members of a zip archive within bounds, those packed with zstd (method 93) too.

Python's zipfile reads deflate and, before 3.14, no zstd; Inspect writes zstd today. Sizes in the
archive are what its writer claims: what comes out is measured. Format: PKWARE's APPNOTE 6.3.10,
sections 4.3.7 (local header) and 4.4.5 (methods).
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from rampway.adapters.evals_files.files import EvalFileError, opened

MAX_MEMBERS = 2_000_000
MAX_MEMBER_BYTES = 64 * 2**20
MAX_TOTAL_BYTES = 2 * 2**30
MAX_RATIO = 500
RATIO_MATTERS_BYTES = 2**20  # a small member may be as regular as it likes
ZSTD = 93
ENCRYPTED = 0x1
_LOCAL_HEADER_BYTES = 30
_WINDOW_BYTES = 128 * 2**20
_NO_ZSTD = (
    "packed with zstd, which needs a package that is not installed. Next: pip install"
    " 'rampway[evals]', or convert the log: inspect log convert --to json"
)


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Archive:
    """An open archive; `read` counts what it has unpacked in all."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._unpacked_bytes = 0
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, struct.error, OSError) as error:
            raise EvalFileError(path, 0, f"a broken zip archive ({error}).") from error
        self._members = {info.filename: info for info in self._zip.infolist()}
        if len(self._members) != len(self._zip.infolist()):
            raise EvalFileError(path, 0, "a zip archive with two members of one name.")
        if len(self._members) > MAX_MEMBERS:
            raise EvalFileError(path, 0, f"a zip archive of more than {MAX_MEMBERS:,} members.")

    @property
    def names(self) -> list[str]:
        """The members, in the order of the archive."""
        return list(self._members)

    def read(self, name: str) -> bytes:
        """One member, unpacked. Raises EvalFileError."""
        info = self._members[name]
        if info.flag_bits & ENCRYPTED:
            raise self._broken(info, "is encrypted. Next: unpack it first")
        limit = min(MAX_MEMBER_BYTES, MAX_TOTAL_BYTES - self._unpacked_bytes)
        if max(info.file_size, info.compress_size) > limit:
            raise self._broken(
                info, f"has {info.file_size:,} bytes unpacked; {limit:,} are left of the limit."
            )
        self._check_ratio(info, info.file_size)
        try:
            body = self._unpack(info, limit)
        except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError, OSError) as error:
            raise self._broken(info, f"is broken ({error}).") from error
        self._check_ratio(info, len(body))
        self._unpacked_bytes += len(body)
        if len(body) != info.file_size or zlib.crc32(body) != info.CRC:
            raise self._broken(info, "is not what the archive says of it: size or CRC differ.")
        return body

    def _unpack(self, info: zipfile.ZipInfo, limit: int) -> bytes:
        if info.compress_type != ZSTD:
            with self._zip.open(info) as member:
                return _all_of(member, limit)
        return _all_of(_zstd_reader(self.path, io.BytesIO(self._packed(info))), limit)

    def _packed(self, info: zipfile.ZipInfo) -> bytes:
        """A member as it is stored: behind its local header, whose extra field may be another."""
        self._file.seek(info.header_offset)
        header = self._file.read(_LOCAL_HEADER_BYTES)
        if len(header) != _LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
            raise self._broken(info, "has no local header.")
        name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
        self._file.seek(name_bytes + extra_bytes, io.SEEK_CUR)
        return self._file.read(info.compress_size)

    def _check_ratio(self, info: zipfile.ZipInfo, unpacked_bytes: int) -> None:
        if unpacked_bytes > RATIO_MATTERS_BYTES + MAX_RATIO * info.compress_size:
            raise self._broken(
                info,
                f"unpacks {info.compress_size:,} bytes to {unpacked_bytes:,}: a zip bomb, the limit"
                f" is {MAX_RATIO} to 1.",
            )

    def _broken(self, info: zipfile.ZipInfo, message: str) -> EvalFileError:
        return EvalFileError(self.path, 0, f"member {info.filename[:100]!r} {message}")


@contextmanager
def opened_archive(path: Path) -> Generator[Archive]:
    """The archive, open for reading. Raises EvalFileError."""
    with opened(path) as file:
        yield Archive(path, file)


def _all_of(reader: _Reader, limit: int) -> bytes:
    """What the reader has, and at most one byte more than the limit."""
    parts: list[bytes] = []
    left = limit + 1
    while left > 0 and (part := reader.read(min(left, 2**20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _zstd_reader(path: Path, packed: BinaryIO) -> _Reader:
    try:
        import zstandard  # noqa: PLC0415 - optional: only Inspect's archives need it
    except ImportError as error:
        raise EvalFileError(path, 0, _NO_ZSTD) from error
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    reader = decompressor.stream_reader(packed, read_across_frames=True)
    return _Checked(reader, zstandard.ZstdError)


class _Checked:
    """A reader that turns a library's own error into one of zipfile's."""

    def __init__(self, reader: _Reader, error: type[Exception]) -> None:
        self._reader = reader
        self._error = error

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes."""
        try:
            return self._reader.read(size)
        except self._error as error:
            raise zipfile.BadZipFile(str(error)) from error
