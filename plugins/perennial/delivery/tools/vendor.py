"""What the connectors of vendors share: a name, settings, a connection, and calls that are opened when first needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from perennial.contracts.policy import Channel
from perennial.core.connections import Connection, ConnectionStore
from perennial.delivery.records import Description
from perennial.delivery.tools.http import Api, Manners


class VendorConfig(Protocol):
    """What the settings of every vendor's account have."""

    @property
    def kind(self) -> str:
        """The kind in config/destinations.yml."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels whose lists go there."""

    @property
    def connection(self) -> str:
        """The id of the connection that holds the key."""


Config = TypeVar("Config", bound=VendorConfig)


class VendorAccount(ABC, Generic[Config]):
    """One account at a vendor: a `Tool` adds what it can do, its limits, and its calls."""

    def __init__(self, name: str, config: Config, connections: ConnectionStore, manners: Manners | None = None) -> None:
        self._name, self._config, self._connections, self._manners = name, config, connections, manners
        self._opened: Api | None = None

    @property
    def name(self) -> str:
        """The name in config/destinations.yml."""
        return self._name

    def describe(self) -> Description:
        """The account as people see it; holds no secret."""
        return Description(self._name, self._config.kind, self._config.channels, self._target())

    @property
    def api(self) -> Api:
        """The account's calls. Raises ConfigError when the connection lacks something."""
        if self._opened is None:
            self._opened = self._open(self._connections.get(self._config.connection))
        return self._opened

    @abstractmethod
    def _target(self) -> str:
        """Where it writes, in words."""

    @abstractmethod
    def _open(self, connection: Connection) -> Api:
        """The calls of the account."""

    async def close(self) -> None:
        """End the connections."""
        if self._opened is not None:
            await self._opened.close()
