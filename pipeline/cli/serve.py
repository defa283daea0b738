"""``facets serve``."""

from typing import Annotated

import typer

from pipeline.cli._shared import find_root
from pipeline.core.errors import ResourceError
from pipeline.core.extras import how_to_install

_Host = Annotated[str, typer.Option("--host", help="Address of the embedded Prefect server.")]
_Port = Annotated[int, typer.Option("--port", min=1, max=65534, help="Its port; the pages have the next one.")]
_Alert = Annotated[
    str | None,
    typer.Option(
        "--alert-url", envvar="FACETS_ALERT_URL", help="Gets a POST when something goes wrong.", show_default=False
    ),
]


def serve(host: _Host = "127.0.0.1", port: _Port = 4200, alert_url: _Alert = None) -> None:
    """Run the service: scheduled rebuilds, retrainings and tidying, and the drop folders data/inbox/EXP/.

    All active experiments are served, on the schedules of params.yaml. Prefect's pages show what runs. With
    PREFECT_API_URL set, that server is used instead of an embedded one. End it with Ctrl-C; schedules stay.

    \b
    Example:
        facets serve --port 4200
    """
    from pipeline.flows.environment import configure

    root = find_root()
    configure(root)
    try:
        from pipeline.flows.serve import serve
    except ImportError as error:
        raise ResourceError(f"the service needs Prefect, but {error}; {how_to_install('flows')}") from None
    serve(root, host, port, alert_url)
