"""Finds the place that a slice belongs to."""

from pathlib import Path

from gateway.retention.buckets import Bucket, ObjectStorage
from gateway.retention.errors import NoStorageError
from gateway.retention.local import LocalDirectory
from gateway.retention.model import StoreType
from gateway.retention.places import Place


class Depot:
    """All buckets of one object storage, and the local directory of each project."""

    def __init__(self, storage: ObjectStorage | None, local_root: Path) -> None:
        self._storage = storage
        self._local_root = local_root
        self._buckets: dict[str, Bucket] = {}

    def place(self, store_type: StoreType, bucket: str, project_id: str) -> Place:
        """NoStorageError for a bucket if no object storage is configured."""
        if store_type is StoreType.LOCAL:
            return LocalDirectory(self._local_root / project_id)
        if self._storage is None:
            raise NoStorageError("the gateway has no object storage (retention.obs)")
        if bucket not in self._buckets:
            self._buckets[bucket] = Bucket(self._storage, bucket)
        return self._buckets[bucket]

    def at(self, destination: str) -> Place:
        """The place of a slice's destination (`Recording.destination`)."""
        store_type, _, name = destination.partition("/")
        return self.place(StoreType(store_type), name, name)
