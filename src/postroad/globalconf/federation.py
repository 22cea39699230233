"""Which other instances may this server exchange messages with?

Source: reference ``FederationConfigurationSourceFilter`` (setting ``allowed-federations``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AllowedFederations:
    """The administrator's filter on federated instances; names compare without regard to case.

    >>> allowed = AllowedFederations.parse("FI, ee-test")
    >>> allowed.allows("EE-TEST"), allowed.allows("LV")
    (True, False)
    """

    everything: bool = False
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> AllowedFederations:
        """Read the setting: ``none`` (which wins over all else), ``all``, or names with commas.

        >>> AllowedFederations.parse("all,none").allows("FI")
        False
        """
        words = frozenset(word.strip().casefold() for word in text.split(",") if word.strip())
        if "none" in words:
            return cls()
        return cls(everything="all" in words, names=words - {"all"})

    def allows(self, instance: str) -> bool:
        """Whether an instance other than our own may be known."""
        return self.everything or instance.casefold() in self.names
