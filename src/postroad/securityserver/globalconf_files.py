"""How is the stored global configuration read outside the proxy workers?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from postroad.adapters.files import read_tree
from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.stored import ConfigurationLoader

if TYPE_CHECKING:
    from postroad.clock import Clock
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.securityserver.settings import Settings

MAX_STORED_BYTES: Final = 256 * 1024 * 1024


class CurrentConfiguration:
    """The stored global configuration, parsed anew only where it changed."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._loader = ConfigurationLoader()
        self._loaded: GlobalConfiguration | None = None

    def forget(self) -> None:
        """Load again at the next question: the configuration client has been at work."""
        self._loaded = None

    async def get(self) -> GlobalConfiguration:
        """The configuration, if it is valid now.

        Raises `ConfigurationError` (`global_conf_outdated`) when there is none that is.
        """
        if self._loaded is None:
            self._loaded = await asyncio.to_thread(self._load)
        self._loaded.ensure_valid(self._clock.now())
        return self._loaded

    def _load(self) -> GlobalConfiguration:
        return load_globalconf(self._settings, self._loader)


def load_globalconf(
    settings: Settings, loader: ConfigurationLoader | None = None
) -> GlobalConfiguration:
    """Load what the configuration client stored.

    Raises `ConfigurationError` (`global_conf_outdated`, `malformed_global_conf`) if there is none
    yet or it can't be read. Whether it is still valid is the caller's question.
    """
    directory = settings.globalconf_path
    if not directory.is_dir():
        raise ConfigurationError(
            "the global configuration was not downloaded yet", code=FaultCode.GLOBAL_CONF_OUTDATED
        )
    try:
        files = read_tree(directory, MAX_STORED_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"the global configuration can't be read: {error.strerror}",
            code=FaultCode.MALFORMED_GLOBAL_CONF,
        ) from error
    return (loader or ConfigurationLoader()).load(files)
