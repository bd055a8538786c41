"""config/destinations.yml: which list goes where, and whether it can."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from perennial.contracts.destinations import AnyDestination, DestinationsFile, FilesConfig, OutboxConfig, ToolConfig
from perennial.contracts.targeting import Campaign
from perennial.core.connections import ConnectionStore, EnvironmentConnections
from perennial.core.errors import ConfigError, Problem
from perennial.core.settings import Settings
from perennial.core.yamlfile import YamlDocument, read_yaml, validate
from perennial.delivery.engine.destination import ToolDestination
from perennial.delivery.outbox import OutboxDestination
from perennial.delivery.protocol import Destination
from perennial.delivery.records import CheckStep
from perennial.delivery.tools.protocol import Tool

FILE = "destinations.yml"


@dataclass(frozen=True)
class Surroundings:
    """What a constructor may use: where files of lists go, who we are at a tool, the settings."""

    root: Path
    connections: ConnectionStore
    settings: Settings


def _tool(place: str) -> Callable[[str, Any, Surroundings], Tool]:
    """A connector by `module:Class`, imported when it is used: `Class(name, config, connections)`."""
    module, _, name = place.partition(":")

    def make(called: str, config: Any, around: Surroundings) -> Tool:
        made: Tool = getattr(import_module(module), name)(called, config, around.connections)
        return made

    return make


def _with_templates(place: str) -> Callable[[str, Any, Surroundings], Tool]:
    """A connector that says what stands in config/templates: `Class(name, config, connections, templates)`."""
    module, _, name = place.partition(":")

    def make(called: str, config: Any, around: Surroundings) -> Tool:
        templates = around.settings.config_dir / "templates"
        made: Tool = getattr(import_module(module), name)(called, config, around.connections, templates)
        return made

    return make


def _remote_folder(name: str, config: Any, around: Surroundings) -> Destination:
    from perennial.delivery.remote_folder import RemoteFolder

    return RemoteFolder(name, config, around.connections, around.settings.home / "handed")


# One constructor per kind: the name in the file, its settings (contracts/destinations.py), what is around it.
# KINDS are destinations by themselves; TOOLS are handed their lists in chunks by the engine (delivery/engine).
KINDS: dict[str, Callable[[str, Any, Surroundings], Destination]] = {
    "outbox": lambda name, config, around: OutboxDestination(name, config, around.root),
    "sftp": _remote_folder,
    "s3": _remote_folder,
}
TOOLS: dict[str, Callable[[str, Any, Surroundings], Tool]] = {
    "mailchimp": _tool("perennial.delivery.tools.mailchimp:Mailchimp"),
    "brevo": _tool("perennial.delivery.tools.brevo:Brevo"),
    "listmonk": _tool("perennial.delivery.tools.listmonk:Listmonk"),
    "sendgrid": _tool("perennial.delivery.tools.sendgrid:SendGrid"),
    "klaviyo": _tool("perennial.delivery.tools.klaviyo:Klaviyo"),
    "resend": _tool("perennial.delivery.tools.resend:Resend"),
    "museletter": _tool("perennial.delivery.tools.museletter:Museletter"),
    "smtp": _with_templates("perennial.delivery.tools.smtp:Smtp"),
    "http": _with_templates("perennial.delivery.tools.generic:GenericHttp"),
    "webhook": _tool("perennial.delivery.tools.webhook:Webhook"),
}


@dataclass(frozen=True)
class Routes:
    """Which list goes where: the destinations by name with their settings."""

    file: DestinationsFile
    by_name: Mapping[str, Destination]

    def of(self, campaign_id: str, channel: str) -> Destination | None:
        """Where lists of the campaign and channel go: who names the campaign, else who takes the whole channel."""
        takers = [(name, one) for name, one in self.file.destinations.items() if channel in one.channels]
        found = [name for name, one in takers if campaign_id in one.campaigns]
        found += [name for name, one in takers if not one.campaigns]
        return self.by_name[found[0]] if found else None

    def config(self, name: str) -> AnyDestination:
        """The settings of a destination."""
        return self.file.destinations[name]


def load_destinations(settings: Settings) -> DestinationsFile:
    """config/destinations.yml. Raises ConfigError with every mistake in it: file, line, field and fix."""
    document = read_yaml(settings.config_dir / FILE)
    file = validate(document, DestinationsFile)
    problems = list(_problems(file, document))
    if problems:
        raise ConfigError(problems)
    return file


def open_routes(settings: Settings, *, connections: ConnectionStore | None = None, root: Path | None = None) -> Routes:
    """The destinations of config/destinations.yml; nothing is opened yet.

    With `root` nothing leaves the house: every list is written as files below it, whatever its destination is.
    """
    file = load_destinations(settings)
    around = Surroundings(root or settings.outbox, connections or EnvironmentConnections(), settings)
    opened = {
        name: _open(name, config, around, as_files=root is not None) for name, config in file.destinations.items()
    }
    return Routes(file, opened)


def open_tool(settings: Settings, name: str, *, connections: ConnectionStore | None = None) -> Tool:
    """A new connector of the tool `name` of config/destinations.yml. Raises ConfigError when there is none."""
    config = load_destinations(settings).destinations.get(name)
    if not isinstance(config, ToolConfig):
        raise ConfigError(Problem(FILE, f"no tool is called {name!r}", "name one of the file's"))
    around = Surroundings(settings.outbox, connections or EnvironmentConnections(), settings)
    return TOOLS[_kind(config)](name, config, around)


def _open(name: str, config: AnyDestination, around: Surroundings, *, as_files: bool) -> Destination:
    if as_files and not isinstance(config, OutboxConfig):
        return OutboxDestination(name, OutboxConfig(kind="outbox", channels=config.channels), around.root)
    kind = _kind(config)
    if isinstance(config, ToolConfig):
        return ToolDestination(name, kind, config, lambda: TOOLS[kind](name, config, around), around.settings)
    return KINDS[kind](name, config, around)


def _kind(config: AnyDestination) -> str:
    return str(getattr(config, "kind"))  # noqa: B009 - every member of the union has one


def check(
    settings: Settings, campaigns: Iterable[Campaign], *, connections: ConnectionStore | None = None
) -> Iterator[tuple[str, CheckStep]]:
    """Named steps, each with the destination that it is about (`destinations` for the file): never raises."""
    try:
        file = load_destinations(settings)
    except ConfigError as error:
        for problem in error.problems:
            yield "destinations", CheckStep("file", "failed", f"{problem.where}: {problem.message}", problem.fix)
        return
    yield "destinations", CheckStep("file", "passed", f"{FILE} names {len(file.destinations)}")
    routes = open_routes(settings, connections=connections)
    for destination in routes.by_name.values():
        yield from ((destination.name, step) for step in destination.check())
    for campaign in campaigns:
        yield "destinations", _channels_step(campaign, routes)


def _channels_step(campaign: Campaign, routes: Routes) -> CheckStep:
    name = f"channels of {campaign.id}"
    missing = [channel for channel in campaign.channels if routes.of(campaign.id, channel) is None]
    if missing:
        fix = f"add the channel to a destination in {FILE}, or take it off the card"
        return CheckStep(name, "failed", f"no destination takes {', '.join(missing)}", fix)
    return CheckStep(name, "passed", f"{', '.join(campaign.channels)} have a destination")


def _problems(file: DestinationsFile, document: YamlDocument) -> Iterator[Problem]:
    taken: dict[tuple[str | None, str], str] = {}
    for name, config in file.destinations.items():
        at = ("destinations", name)
        for index, channel in enumerate(config.channels):
            for campaign in config.campaigns or (None,):
                if (campaign, channel) in taken:
                    of = f" of the campaign {campaign!r}" if campaign else ""
                    found = f"the channel {channel!r}{of} goes to {taken[campaign, channel]!r} already"
                    yield _problem(document, (*at, "channels", index), found, "name it in one destination")
                taken.setdefault((campaign, channel), name)
        if isinstance(config, ToolConfig) and _kind(config) not in TOOLS:
            yield _problem(document, (*at, "kind"), "this kind cannot be used yet", f"use one of {', '.join(TOOLS)}")
        if isinstance(config, FilesConfig):
            yield from _files_problems(config, document, at)


def _files_problems(config: FilesConfig, document: YamlDocument, at: tuple[str, str]) -> Iterator[Problem]:
    if not config.formats:
        yield _problem(document, (*at, "formats"), "no format is named", "name csv, parquet, xlsx or jsonl")
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
