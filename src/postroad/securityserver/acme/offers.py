"""Which approved certification services issue by ACME, and for which host name is an order?

Source: the global configuration's ``acmeServer``; reference: AcmeService.createOrder (the name is
the request's alternative name, or else its common name).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.adapters.signer_protocol import KeyUsage
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.crypto.certificates import Certificate
    from postroad.globalconf.view import GlobalConfiguration

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class AcmeOffer:
    """What the global configuration says of one certification service."""

    ca_name: str
    directory_url: str
    authentication_profile_id: str | None
    signing_profile_id: str | None

    def profile_id(self, usage: KeyUsage) -> str | None:
        """The identifier of the certificate profile for a usage.

        As in the reference none is named at all when there is none for authentication.
        """
        if not self.authentication_profile_id:
            return None
        if usage is KeyUsage.SIGNING:
            return self.signing_profile_id
        return self.authentication_profile_id


def offers(globalconf: GlobalConfiguration) -> dict[str, AcmeOffer]:
    """The services of the own instance that offer ACME, by name."""
    shared = globalconf.shared(globalconf.own_instance)
    found = {}
    for ca in () if shared is None else shared.approved_cas:
        acme = ca.acme_server
        if acme is not None and acme.directory_url.strip():
            found[ca.name] = AcmeOffer(
                ca.name,
                acme.directory_url.strip(),
                acme.authentication_profile_id,
                acme.signing_profile_id,
            )
    return found


def offer_named(globalconf: GlobalConfiguration, ca_name: str) -> AcmeOffer:
    """The offer of a service; ``ConfigurationError`` that lists the ones there are."""
    known = offers(globalconf)
    if ca_name not in known:
        names = ", ".join(repr(name) for name in sorted(known)) or "none"
        raise ConfigurationError(
            f"{ca_name!r} offers no ACME; of the approved certification services these do: {names}",
            code=FaultCode.ACME_FAILED,
        )
    return known[ca_name]


def offer_for(certificate: Certificate, globalconf: GlobalConfiguration) -> AcmeOffer | None:
    """The offer of the service that issued a certificate, if it makes one."""
    known = offers(globalconf)
    issuers = globalconf.issuers_of(certificate, globalconf.own_instance)
    return next((known[entry.ca_name] for entry in issuers if entry.ca_name in known), None)


def ordered_name(subject: Sequence[tuple[str, str]], alt_name: str | None) -> str:
    """The DNS name that a request is for.

    Raises ``ConfigurationError`` when it is for none: nothing could be proven by a challenge.
    """
    common = [value for name, value in subject if name in {"CN", "2.5.4.3"}]
    name = alt_name or (common[-1] if common else "")
    if not is_dns_name(name):
        raise ConfigurationError(
            f"{name!r} is no DNS name: an order by ACME needs one, as alternative name or CN",
            code=FaultCode.ACME_FAILED,
        )
    return name


def is_dns_name(name: str) -> bool:
    """Whether it is a DNS name, and no IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _NAME.fullmatch(name) is not None
    return False
