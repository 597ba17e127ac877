"""What uploads that were never finished have left in a storage, where nobody sees it.

A large file is sent to S3 in parts, which are a file only when the last has arrived. A process
that is killed before leaves them there, and they are paid for until somebody removes them. Other
storages forget such parts by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dsml.store.publish import Store
from dsml.store.remote import has_parts

AGE = timedelta(days=1)  # no upload is under way for longer


@dataclass(frozen=True)
class Upload:
    """An upload in parts that was begun at ``started``; ``file`` is relative to the storage."""

    file: str
    upload_id: str
    started: datetime


def abandoned_uploads(store: Store) -> list[Upload]:
    """The uploads to a store that were begun long ago and have not been finished since.

    Raises:
        ProjectError: the storage cannot be reached, or refuses to list them.
    """
    if not has_parts(store.root):
        return []
    latest = datetime.now(UTC) - AGE
    return [upload for upload in _uploads(store) if upload.started < latest]


def remove_upload(store: Store, upload: Upload) -> None:
    """Delete the parts of an upload; one that is gone already is no mistake.

    Raises:
        ProjectError: the storage cannot be reached, or refuses to delete them.
    """
    bucket, prefix = _place(store)
    request = {"Bucket": bucket, "Key": prefix + upload.file, "UploadId": upload.upload_id}
    try:
        store.root.fs.call_s3("abort_multipart_upload", **request)
    except FileNotFoundError:
        return


def _uploads(store: Store) -> Iterator[Upload]:
    bucket, prefix = _place(store)
    request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    while True:
        page = store.root.fs.call_s3("list_multipart_uploads", **request)
        for found in page.get("Uploads", ()):
            file = found["Key"].removeprefix(prefix)
            yield Upload(file, found["UploadId"], found["Initiated"])
        if not page.get("IsTruncated"):
            return
        request["KeyMarker"] = page["NextKeyMarker"]
        request["UploadIdMarker"] = page["NextUploadIdMarker"]


def _place(store: Store) -> tuple[str, str]:
    """The bucket of a store, and how the keys in it begin."""
    bucket, _, prefix = store.root.path.strip("/").partition("/")
    return bucket, f"{prefix}/" if prefix else ""
