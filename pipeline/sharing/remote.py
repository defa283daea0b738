"""A share behind a URL. S3 compares the head itself when it is written; elsewhere somebody may come in between."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError, ResourceError
from pipeline.core.text import reason_of
from pipeline.sharing.records import HEAD, Head
from pipeline.sharing.store import Missing, Overtaken, Store, Tag, unreachable


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, which remembers no listing, and the path in it.

    Raises:
        ResourceError: the protocol is unknown, its driver is missing, or the store cannot be reached.
    """
    from fsspec.core import url_to_fs  # takes half a second, which a folder can do without

    try:
        return url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
    except ImportError as error:
        hint = "pip install 'facet-pipeline[s3]'" if url.startswith(("s3://", "s3a://")) else "install it"
        raise ResourceError(f"{url} needs a driver that is not installed ({reason_of(error)}); {hint}") from None
    except Exception as error:  # unknown protocols, and drivers that connect at once
        raise unreachable(url, reason_of(error)) from error


class RemoteStore(Store):
    """See :class:`pipeline.sharing.store.Store`.

    Args:
        place: its URL.
        filesystem: of fsspec, for it.
        path: of the share in that.
    """

    def __init__(self, place: str, filesystem: Any, path: str) -> None:
        self.place = place
        self._filesystem, self._path = filesystem, path.rstrip("/")
        self._is_s3 = "s3" in filesystem.protocol
        self._is_http = "http" in filesystem.protocol
        self.refuses_second = self._is_s3

    def missing_root(self) -> str:
        """Return the bucket of S3, in words, if it is missing; others cannot be asked."""
        bucket = self._path.partition("/")[0]
        with self._reaching():
            return f"bucket {bucket}" if self._is_s3 and not self._filesystem.exists(bucket) else ""

    def sizes(self) -> Mapping[str, int]:
        """Return all blobs that are there, by name, and their bytes."""
        with self._reaching():
            try:
                found = self._filesystem.find(f"{self._path}/blobs", detail=True)
            except FileNotFoundError:
                return {}
            return {path.rpartition("/")[2]: entry["size"] for path, entry in found.items()}

    def send(self, source: Path, name: str) -> None:
        """Make a file a blob; what a store without atomic writes has of one that was cut off has another size."""
        with self._reaching():
            if not self._is_s3:
                self._filesystem.makedirs(f"{self._path}/blobs", exist_ok=True)
            self._filesystem.put_file(str(source), f"{self._path}/blobs/{name}")

    def delete(self, names: Iterable[str]) -> None:
        """Delete blobs; those that are gone already are no fault."""
        paths = [f"{self._path}/blobs/{name}" for name in names]
        with self._reaching():
            if paths and self._is_s3:
                self._filesystem.rm(paths)  # up to a thousand in one request
            for path in [] if self._is_s3 else paths:
                if self._filesystem.exists(path):
                    self._filesystem.rm_file(path)

    def swap(self, head: Head, tag: Tag) -> None:
        """Write the head, if it is still the one of ``tag``."""
        path, data = f"{self._path}/{HEAD}", head.dump()
        with self._reaching():
            if not self._is_s3:
                if self._read_head()[1] != tag:
                    raise self._overtaken()
                self._filesystem.pipe_file(path, data)
                return
            try:
                self._put_if(HEAD, data, {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag})
            except Exception:  # its class depends on which condition was not met
                if self._read_head()[1] != tag:
                    raise self._overtaken() from None
                raise
            self.refuses_second = self._knows_conditions()

    def _put_if(self, name: str, data: bytes, condition: dict[str, str]) -> None:
        bucket, key, _ = self._filesystem.split_path(f"{self._path}/{name}")
        self._filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)

    def _knows_conditions(self) -> bool:
        """Tell whether the store refuses to write what is there: not every one that speaks S3 looks at conditions."""
        try:
            for _ in range(2):  # the first time it may not be there
                self._put_if("once", b"", {"IfNoneMatch": "*"})
        except Exception:  # noqa: BLE001 - that is what it should do
            return True
        return False

    def _read_head(self) -> tuple[bytes | None, Tag]:
        path = f"{self._path}/{HEAD}"
        with self._reaching():
            try:
                if not self._is_s3:
                    data = self._filesystem.cat_file(path)
                    return data, data.decode("utf-8", "replace")
                # The tag first: where another head comes in between, writing on top of it is refused.
                tag = self._filesystem.info(path, refresh=True)["ETag"]
                return self._filesystem.cat_file(path), tag
            except FileNotFoundError:
                return None, None

    def _read(self, name: str) -> bytes:
        with self._reaching():
            try:
                return self._filesystem.cat_file(f"{self._path}/blobs/{name}")
            except FileNotFoundError:
                raise self._missing(name) from None

    def _get(self, name: str, target: Path) -> None:
        with self._reaching():
            try:
                self._filesystem.get_file(f"{self._path}/blobs/{name}", str(target))
            except FileNotFoundError:
                raise self._missing(name) from None

    def _missing(self, name: str) -> Missing:
        return Missing(f"{self.place}/blobs/{name} is missing; push again from where it is whole")

    def _overtaken(self) -> Overtaken:
        return Overtaken(f"the head of {self.place} was written by somebody else meanwhile")

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except PipelineError:
            raise
        except Exception as error:  # every driver of fsspec has classes of its own
            raise unreachable(self.place, reason_of(error)) from error
