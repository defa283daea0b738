"""A cluster or a group gets a name that people understand."""

from pipeline.core.errors import PipelineError
from pipeline.core.layout import Layout
from pipeline.operations.locks import publish_lock
from pipeline.operations.page import refresh_page
from pipeline.operations.tracked import remember_tracked
from pipeline.tables import History


def name_cluster(layout: Layout, uid: str, name: str, note: str = "") -> None:
    """Write a name into ``names/<experiment>.csv`` and compose the page anew.

    Args:
        layout: of the experiment.
        uid: of a published cluster or group.
        name: what people call it; an empty one removes its name.
        note: a remark, shown with the name.

    Raises:
        ConfigError: the uid was never published.
        PublishError: nothing is published yet.
        BusyError: another process is publishing.
        ResourceError: the page cannot be written; the tables have the new name.
    """
    history = History(layout.published)
    with publish_lock(layout, f"name {uid}"):
        history.served()
        history.set_name(layout.names, uid, name, note)
        remember_tracked(layout, layout.names)
        try:
            refresh_page(layout, force=True)
        except PipelineError as error:
            raise type(error)(
                f"{layout.names} and the tables have the new name of {uid}, but the page could not be composed anew: "
                f"{error}"
            ) from error
