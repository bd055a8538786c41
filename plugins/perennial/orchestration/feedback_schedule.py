"""How often tools are asked what came back: never where config/destinations.yml names none, which costs nothing."""

from __future__ import annotations

import logging
from datetime import timedelta

EVERY = timedelta(minutes=15)

log = logging.getLogger("perennial")


def feedback_schedule() -> timedelta | None:
    """The time between two pulls, or None. Reads one file: nothing heavy is imported while a DAG file is parsed."""
    from perennial.contracts.destinations import DestinationsFile, is_tool
    from perennial.core.errors import PerennialError
    from perennial.core.settings import load_settings
    from perennial.core.yamlfile import read_yaml, validate

    try:
        file = validate(read_yaml(load_settings().config_dir / "destinations.yml"), DestinationsFile)
    except PerennialError as error:
        log.error("Mailing tools are not asked until this is mended:\n%s", error)
        return None
    return EVERY if any(is_tool(config) for config in file.destinations.values()) else None
