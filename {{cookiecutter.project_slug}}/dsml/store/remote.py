"""Storage that is no folder: every call to it is tried again, gives up in time, and says why.

All that a store does can be done twice without harm: an object is put, read and deleted as a
whole. What goes wrong for a reason that passes (a connection that is cut, a storage that is slow,
busy or restarted) is therefore done again after a pause; the rest is a message for the user.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import itertools
import os
import random
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import escape, iglob
from pathlib import Path
from typing import Any, TypeVar

from upath import UPath

from dsml.contract.figures import shortened
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.storage import KINDS, protocol_of

PART = 16 * 2**20  # bytes of a part of a large file, which is what is sent again when one is lost
UNREACHABLE = "storage-unreachable"

# The calls of a filesystem that stores make, all of which may be made again.
# fmt: off
_CALLS = frozenset({
    "call_s3", "cat_file", "find", "get", "get_file", "info", "listdir", "ls", "pipe_file",
    "put_file", "rm", "rm_file",
})
# Where the errors of storages are defined: fsspec's packages, and what these are made of.
_PACKAGES = frozenset({
    "adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "requests", "s3fs",
    "urllib3",
})
_REFUSED_CODES = frozenset({
    "401", "403", "AccessDenied", "AuthenticationFailed", "AuthorizationFailure",
    "AuthorizationPermissionMismatch", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
    "SignatureDoesNotMatch",
})
_REFUSED_TYPES = frozenset({
    "ClientAuthenticationError", "CredentialRetrievalError", "DefaultCredentialsError",
    "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "RefreshError",
    "TokenRetrievalError", "UnauthorizedSSOTokenError",
})
# fmt: on
Place = TypeVar("Place", UPath, Path)
_NO_SUCH = "no-bucket"
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|(?i:(bucket|container) does not exist)")
_SILENT = ("adlfs", "gcsfs")  # of a bucket that is not there they say what they say of a file
_S3 = ("s3", "s3a")
_S3_CALLS: Mapping[str, Mapping[str, int]] = {
    "put_file": {"chunksize": PART},
    "cat_file": {"max_concurrency": 1},  # else it asks for the size first
}
# This machine's disk is full, or nothing may be written to it; the storage knows no such call.
_FINAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOSYS)
# What a storage says where an object was to be made that is there already, and s3fs doesn't know.
_TAKEN = ("PreconditionFailed", "412")
_SMALL = 8 * 2**20  # bytes of a file that is read as a whole
_LONGEST = 200  # characters of what a storage says


@dataclass(frozen=True)
class Patience:
    """How long a storage is waited for; all but the counts are seconds.

    A call is tried ``attempts`` times, none of them begun later than ``overall`` after the first.
    The pause before the second is about ``pause``, each further one twice as long, up to
    ``longest``; a part of each is chance, so that many who were refused at once don't come back
    at once. A connection is waited for for ``connect``, the next byte of an answer for ``answer``.
    Of S3 each request is sent ``requests`` times by botocore, before s3fs does so once more.
    After a call has failed for good, others are tried once only for ``down``.
    """

    attempts: int = 5
    pause: float = 0.5
    longest: float = 8.0
    overall: float = 60.0
    connect: float = 10.0
    answer: float = 60.0
    requests: int = 3
    down: float = 30.0

    def pauses(self) -> Iterator[float]:
        """The pauses between the attempts."""
        for number in range(self.attempts - 1):
            longest = min(self.pause * 2**number, self.longest)
            yield random.uniform(longest / 2, longest)  # noqa: S311 - no secret


PATIENCE = Patience()


def open_root(address: str, where: Where, subject: str) -> UPath:
    """The root of a storage at an address; nothing is asked of it yet.

    ``where`` and ``subject`` say in a message where the address comes from.

    Raises:
        ProjectError: the package for this kind of storage is not installed.
    """
    kind = KINDS[protocol_of(address)]
    if kind.package and importlib.util.find_spec(kind.package) is None:
        what = f"{subject}: {protocol_of(address)}:// needs the package {kind.package}"
        fix = f'install it: uv sync --extra {kind.extra}, or pip install -e ".[{kind.extra}]"'
        raise ProjectError([Problem(where, what, fix, "no-package")])
    root = UPath(address)
    # the options are what the address says of the filesystem, such as Azure's account
    remote = Remote(address, where, subject, root.storage_options)
    root._fs_cached = remote  # noqa: SLF001 - there is no other way in; paths below hand it on
    return root


class Remote:
    """Stands in for a filesystem of fsspec in the paths of a store."""

    def __init__(
        self, address: str, where: Where, subject: str, options: Mapping[str, Any]
    ) -> None:
        self._address = address
        self._where = where
        self._subject = subject
        self._options = options
        self._given = _S3_CALLS if protocol_of(address) in _S3 else {}
        self._made: tuple[int, Any] = (0, None)
        self._down = 0.0

    @property
    def system(self) -> Any:
        """The filesystem itself; a process that was forked off has one of its own."""
        if self._made[0] != os.getpid():
            self._made = (os.getpid(), _filesystem(protocol_of(self._address), self._options))
        return self._made[1]

    def __getattr__(self, name: str) -> Any:
        if name not in _CALLS:
            return getattr(self.system, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._try(name, args, kwargs)

        return call

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        """A file to be read; the content of a small one has arrived when this returns."""
        if mode == "rb" and self._try("info", (path,), {})["size"] <= _SMALL:
            return io.BytesIO(self._try("cat_file", (path,), {}))
        return self._try("open", (path, mode), kwargs)

    def exists(self, path: str) -> bool:
        """Whether there is something; fsspec's own takes any trouble for a no."""
        return self._type(path) is not None

    def reach(self, path: str) -> None:
        """Ask for something below, to see that the storage answers and has the bucket.

        Of Azure and Google the bucket itself is asked for, too: the answer is the same where there
        is none. Not everybody who may use a bucket may ask for it, so a refusal says nothing.
        """
        if self.exists(path) or KINDS[protocol_of(self._address)].package not in _SILENT:
            return
        try:
            self._try("info", (self._bucket,), {})
        except FileNotFoundError:
            raise ProjectError([self._no_bucket()]) from None
        except ProjectError as error:
            if error.problems[0].name == _NO_SUCH:
                raise

    def isdir(self, path: str) -> bool:
        """Whether there is something below."""
        return self._type(path) == "directory"

    def isfile(self, path: str) -> bool:
        """Whether it is an object."""
        return self._type(path) == "file"

    def _type(self, path: str) -> str | None:
        try:
            return str(self._try("info", (path,), {})["type"])
        except FileNotFoundError:
            return None

    def _try(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        begun = time.monotonic()
        pauses = PATIENCE.pauses() if begun >= self._down else iter(())
        for number in itertools.count(1):
            try:
                system = self.system
                system.invalidate_cache()  # other processes write, too
                return getattr(system, name)(*args, **self._given.get(name, {}), **kwargs)
            except Exception as error:
                problem = self._judge(error, putting=name == "put_file")
                if problem is not None:
                    raise ProjectError([problem]) from error
                pause = next(pauses, None)
                waited = time.monotonic() - begun
                if pause is None or waited + pause > PATIENCE.overall:
                    self._down = time.monotonic() + PATIENCE.down
                    raise ProjectError([self._unreachable(error, number, waited)]) from error
            time.sleep(pause)
        raise AssertionError  # the attempts are counted above

    def _judge(self, error: Exception, *, putting: bool) -> Problem | None:
        """What to tell of an error; None where it may pass.

        Raises:
            Exception: the error itself, where it is an answer or has nothing to do with storage.
        """
        chain = list(_chain(error))
        if any(_NO_BUCKET.search(f"{_code(each)} {each}") for each in chain):
            return self._no_bucket()
        if any(_is_refusal(each) for each in chain):
            what = f"{self._subject}: {self._address} refuses access: {_said(error)}"
            found_in = KINDS[protocol_of(self._address)].credentials
            fix = f"give the credentials of one who may read and write there: {found_in}"
            return Problem(self._where, what, fix, "storage-refused")
        if any(_code(each) in _TAKEN for each in chain):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        if not _is_passing(error, putting=putting):
            raise error
        return None

    @property
    def _bucket(self) -> str:
        place = self._address.partition("://")[2].partition("/")[0]
        return place.partition("@")[0]  # Azure's account may stand behind it

    def _no_bucket(self) -> Problem:
        what = f"{self._subject}: there is no bucket '{self._bucket}'"
        return Problem(self._where, what, "make it, or name one that is there", _NO_SUCH)

    def _unreachable(self, error: Exception, attempts: int, seconds: float) -> Problem:
        times = f"{attempts} attempts in {seconds:.0f} s" if attempts > 1 else "1 attempt"
        what = f"{self._subject}: {self._address} does not work ({times}): {_said(error)}"
        fix = "look at the network and the storage, then carry on: dsml run --from-failure latest"
        return Problem(self._where, what, fix, UNREACHABLE)


def read(path: UPath) -> bytes:
    """The content of a small file, in one call.

    Raises:
        FileNotFoundError: there is none.
    """
    if isinstance(path, Path):
        return path.read_bytes()
    content: bytes = path.fs.cat_file(path.path)
    return content


def read_if_there(path: UPath) -> bytes | None:
    """The content of a small file, None where there is none."""
    try:
        return read(path)
    except FileNotFoundError:
        return None


def has_parts(path: UPath) -> bool:
    """Whether it lies where large files are sent in parts, which may be left behind."""
    return path.protocol in _S3


def delete(path: UPath) -> None:
    """Delete a file, if it is there. What looks like a pattern in its name is taken as it is."""
    if isinstance(path, Path):
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(FileNotFoundError):
        path.fs.rm_file(path.path)


def glob(root: Place, pattern: str) -> Iterator[Place]:
    """The files below ``root`` that match; ``*`` stands for anything inside of one name.

    Of a remote storage all below the fixed beginning of the pattern is listed, a thousand files
    with each call, where a folder after the other would be a call each.
    """
    if isinstance(root, Path):
        # Path.glob fails where others remove a folder meanwhile
        escaped = escape(pattern).replace("[*]", "*")
        for name in iglob(escaped, root_dir=root, include_hidden=True):  # noqa: PTH207
            yield root / name
        return
    parts = pattern.split("/")
    fixed = list(itertools.takewhile(lambda part: "*" not in part, parts[:-1]))
    matches = re.compile(re.escape(pattern).replace(r"\*", "[^/]*"))
    try:
        found = root.fs.find(root.joinpath(*fixed).path)
    except FileNotFoundError:
        return
    for path in found:
        name = path.removeprefix(root.path).lstrip("/")
        if matches.fullmatch(name):
            yield root.joinpath(*name.split("/"))


def _filesystem(protocol: str, options: Mapping[str, Any]) -> Any:
    import fsspec

    settings: dict[str, Any] = {"use_listings_cache": False, **options}
    package = KINDS[protocol].package
    if package == "gcsfs":
        settings["requests_timeout"] = PATIENCE.answer
    if package == "adlfs":
        settings["connection_timeout"] = int(PATIENCE.connect)
        settings["read_timeout"] = int(PATIENCE.answer)
    if protocol in _S3:
        given = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
        settings["config_kwargs"] = {
            "connect_timeout": PATIENCE.connect,
            "read_timeout": PATIENCE.answer,
            "retries": {"mode": "standard", "total_max_attempts": PATIENCE.requests},
            **given,
        }
    system = fsspec.filesystem(protocol, **settings)
    if protocol in _S3:
        system.retries = 2  # of a download that is cut it goes on where that was
    return system


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException) -> str:
    """What the storage calls the error: a name of its own, or the status of HTTP."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return str(response.get("Error", {}).get("Code", ""))
    for name in ("error_code", "status_code", "status", "code"):
        if code := getattr(error, name, None):
            return str(code)
    return ""


def _is_passing(error: Exception, *, putting: bool) -> bool:
    """Whether an error may be gone at the next attempt."""
    if type(error).__name__ == "ParamValidationError":
        return False
    if isinstance(error, OSError):
        if error.filename is not None or error.errno in _FINAL:
            return False
        if isinstance(error, FileNotFoundError):
            return putting  # an upload in parts that was ended by others
        return not isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError)
    return type(error).__module__.partition(".")[0] in _PACKAGES


def _is_refusal(error: BaseException) -> bool:
    """Whether the storage knows nothing of who asks, or doesn't let them."""
    if isinstance(error, PermissionError):
        return error.filename is None  # else it is a file of this machine
    return (
        type(error).__name__ in _REFUSED_TYPES
        or _code(error) in _REFUSED_CODES
        or (isinstance(error, ValueError) and "credentials" in str(error))  # adlfs, of none at all
    )


def _said(error: BaseException) -> str:
    said = (isinstance(error, OSError) and error.strerror) or str(error)
    return shortened(" ".join(said.split()) or type(error).__name__, _LONGEST)
