"""A real S3 server on the loopback."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def s3_server() -> Iterator[str]:
    """Run a server, point the drivers at it, and yield the address of an empty bucket."""
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            patch.setenv("AWS_ACCESS_KEY_ID", "tests")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()  # servers share one state
            fsspec.filesystem("s3", skip_instance_cache=True).mkdir("team")
            yield "s3://team/shop"
    finally:
        server.stop()
