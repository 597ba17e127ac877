"""Where an environment may keep its artefacts: folders, and addresses of object storage."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from dsml.contract.problem import suggest

SCHEME = "://"
# Bytes of copies of remote artefacts that stay on this machine, where the catalog doesn't say.
DEFAULT_CACHE = "10 GB"
SIZE = r"\d+(\.\d+)? ?(kB|MB|GB|TB|Ki|Mi|Gi|Ti)"
CREDENTIALS = "leave it out: credentials come from the environment or the cloud's own chain"

_FORM = "write a folder, or an address such as s3://bucket/prefix"
_POWERS = {name: power for power, name in enumerate("KMGT", 1)}
Finding = tuple[str, str, str]  # what is wrong, how to mend it, its kind


@dataclass(frozen=True)
class Kind:
    """A kind of object storage; what its addresses need.

    ``package`` opens it and comes with the ``extra`` of this project; ``credentials`` says where
    it looks for these.
    """

    package: str = ""
    extra: str = ""
    credentials: str = ""


_S3 = Kind("s3fs", "s3", "AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role")
_GCS = Kind("gcsfs", "gcs", "gcloud auth application-default login, or a service account")
_AZURE = Kind("adlfs", "azure", "AZURE_STORAGE_ACCOUNT_NAME with az login, a key or an identity")
# A manifest that is put there is there at once and as a whole, on which all publishing rests.
KINDS: Mapping[str, Kind] = {
    "s3": _S3,
    "s3a": _S3,
    "gs": _GCS,
    "gcs": _GCS,
    "abfs": _AZURE,
    "abfss": _AZURE,
    "az": _AZURE,
    "memory": Kind(),  # of one process, for tests
}
_OFFERED = ("s3", "gs", "abfs")


def protocol_of(storage: str) -> str:
    """What an address begins with; "" of a folder."""
    return storage.partition(SCHEME)[0] if SCHEME in storage else ""


def storage_finding(storage: str) -> Finding | None:
    """What is wrong with a storage, as far as it can be told without looking at it."""
    if not storage.strip():
        return "names no storage", _FORM, "no-storage"
    if not protocol_of(storage):
        return None
    return credentials_finding(storage) or _address_finding(storage)


def _address_finding(address: str) -> Finding | None:
    protocol, _, rest = address.partition(SCHEME)
    if protocol == "file":
        return "a folder is no address", "write its path without file://", "no-storage"
    if protocol not in KINDS:
        fix = suggest(protocol, _OFFERED)
        return f"there is no storage of the kind '{protocol}'", fix, "no-storage"
    if "?" in rest or "#" in rest:
        return "an address of a storage has no '?' and no '#'", CREDENTIALS, "no-storage"
    if not rest.partition("/")[0] or ".." in rest.split("/"):
        return "the address names no bucket, or leaves it", _FORM, "no-storage"
    return None


def credentials_finding(address: str) -> Finding | None:
    """A user name, a password or a key in an address. The finding does not repeat it."""
    protocol, scheme, rest = address.partition(SCHEME)
    place, _, query = rest.partition("?")
    user = place.rpartition("@")[0]
    # `container@account.dfs.core.windows.net` is how Azure names a container
    container = KINDS.get(protocol) == _AZURE and not re.search(r"[:/]", user)
    if not scheme or not ((user and not container) or _names_key(query)):
        return None
    what = "the address holds a user name, a password or a key"
    return what, CREDENTIALS, "secret-in-catalog"


def _names_key(query: str) -> bool:
    """Whether a query holds what opens a storage: a key, a secret, a token, a signature."""
    return bool(re.search(r"(?i)(key|secret|token|password|sig|signature|credential)=", query))


def shared(storages: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The names of environments whose storages lie in each other: the later, the earlier."""
    seen: dict[str, PurePosixPath] = {}
    for name, storage in storages.items():
        place = _place(storage)
        for other, taken in seen.items():
            if place.is_relative_to(taken) or taken.is_relative_to(place):
                yield name, other
                break
        seen[name] = place


def _place(storage: str) -> PurePosixPath:
    protocol, scheme, rest = storage.rpartition(SCHEME)
    if not scheme:  # "." is the project, in which all relative paths lie
        folder = os.path.normpath(os.path.expanduser(storage or "."))  # noqa: PTH111 - no disk
        return PurePosixPath("./x", folder.replace(os.sep, "/"))
    kind = KINDS.get(protocol, Kind())
    return PurePosixPath(f"{kind.package or protocol}:", *rest.split("/"))


def bytes_of(size: str) -> int | None:
    """The bytes of a size such as ``10 GB``, None where it is none."""
    if not re.fullmatch(SIZE, size, re.ASCII):
        return None
    number, unit = size[:-2], size[-2:]
    base = 1024 if unit.endswith("i") else 1000
    return int(float(number) * base ** _POWERS[unit[0].upper()])
