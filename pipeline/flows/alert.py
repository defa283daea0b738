"""Telling somebody outside that a model was refused."""

import asyncio
from pathlib import Path

from prefect.blocks.webhook import Webhook
from prefect.logging import get_run_logger
from pydantic import SecretStr

BLOCK = "facets-alert"
"""Name of the webhook block that gets alerts; without one, the failed run is all there is."""


def register_alert(url: str) -> None:
    """Make, or change, the webhook block for alerts."""
    block = Webhook(method="POST", url=SecretStr(url))
    block.save(BLOCK, overwrite=True, _sync=True)  # pyright: ignore[reportCallIssue]


def send_alert(root: Path, text: str) -> None:
    """Post ``{"text": …, "repository": …}`` to the webhook, if there is one; an unreachable receiver fails nothing."""
    logger = get_run_logger()
    logger.error("%s", text)
    try:
        block = Webhook.load(BLOCK, _sync=True)  # pyright: ignore[reportCallIssue]
    except ValueError:
        return
    try:
        asyncio.run(block.call({"text": text, "repository": str(root)})).raise_for_status()
    except Exception as error:  # noqa: BLE001 - whatever the network throws, the refusal itself must be reported
        logger.warning("the alert could not be delivered: %s", error)
