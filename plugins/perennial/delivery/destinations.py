"""config/destinations.yml: which list goes where, and whether it can."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from perennial.contracts.targeting import Campaign, DestinationsFile
from perennial.contracts.targeting import Destination as DestinationConfig
from perennial.core.errors import ConfigError, Problem
from perennial.core.settings import Settings
from perennial.core.yamlfile import YamlDocument, read_yaml, validate
from perennial.delivery.outbox import OutboxDestination
from perennial.delivery.protocol import Destination
from perennial.delivery.records import CheckStep

FILE = "destinations.yml"
# One constructor per kind: the name in the file, its settings, and where files of lists lie.
KINDS: dict[str, Callable[[str, DestinationConfig, Path], Destination]] = {"outbox": OutboxDestination}


def load_destinations(settings: Settings) -> DestinationsFile:
    """config/destinations.yml. Raises ConfigError with every mistake in it: file, line, field and fix."""
    document = read_yaml(settings.config_dir / FILE)
    file = validate(document, DestinationsFile)
    problems = list(_problems(file, document))
    if problems:
        raise ConfigError(problems)
    return file


def destinations_by_channel(settings: Settings, *, root: Path | None = None) -> dict[str, Destination]:
    """The destination of each channel; files of lists go below `root` instead of the outbox when it is given."""
    return {
        channel: destination
        for destination, channels in _opened(load_destinations(settings), root or settings.outbox)
        for channel in channels
    }


def check(settings: Settings, campaigns: Iterable[Campaign]) -> Iterator[tuple[str, CheckStep]]:
    """Named steps, each with the destination that it is about (`destinations` for the file): never raises."""
    try:
        file = load_destinations(settings)
    except ConfigError as error:
        for problem in error.problems:
            yield "destinations", CheckStep("file", "failed", f"{problem.where}: {problem.message}", problem.fix)
        return
    yield "destinations", CheckStep("file", "passed", f"{FILE} names {len(file.destinations)}")
    for destination, _ in _opened(file, settings.outbox):
        yield from ((destination.name, step) for step in destination.check())
    served: set[str] = {channel for config in file.destinations.values() for channel in config.channels}
    for campaign in campaigns:
        yield "destinations", _channels_step(campaign, served)


def _channels_step(campaign: Campaign, served: set[str]) -> CheckStep:
    name = f"channels of {campaign.id}"
    missing = [channel for channel in campaign.channels if channel not in served]
    if missing:
        fix = f"add the channel to a destination in {FILE}, or take it off the card"
        return CheckStep(name, "failed", f"no destination takes {', '.join(missing)}", fix)
    return CheckStep(name, "passed", f"{', '.join(campaign.channels)} have a destination")


def _opened(file: DestinationsFile, root: Path) -> Iterator[tuple[Destination, tuple[str, ...]]]:
    for name, config in file.destinations.items():
        yield KINDS[config.kind](name, config, root), config.channels


def _problems(file: DestinationsFile, document: YamlDocument) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for name, config in file.destinations.items():
        at = ("destinations", name)
        for index, channel in enumerate(config.channels):
            if channel in taken:
                found = f"the channel {channel!r} goes to {taken[channel]!r} already"
                yield _problem(document, (*at, "channels", index), found, "name it in one destination")
            taken.setdefault(channel, name)
        if not config.formats:
            yield _problem(document, (*at, "formats"), "no format is named", "name csv, parquet or both")
        if config.delimiter in "\"'" or not (config.delimiter.isprintable() or config.delimiter == "\t"):
            yield _problem(document, (*at, "delimiter"), "this cannot separate cells", 'use ",", ";", "|" or a tab')
        if not _is_text_encoding(config.encoding):
            found = f"no encoding is called {config.encoding!r}"
            yield _problem(document, (*at, "encoding"), found, "use a name such as utf-8, utf-8-sig or cp1251")


def _problem(document: YamlDocument, at: tuple[str | int, ...], found: str, fix: str) -> Problem:
    field = ".".join(str(key) for key in at)
    return Problem(f"{document.path}:{document.line_of(at)}:{field}", found, fix)


def _is_text_encoding(name: str) -> bool:
    try:
        codecs.lookup(name)
        "".encode(name)
    except LookupError:  # not there, or not one of text
        return False
    return True
