"""Which system parameters does an instance have, and what are their values?

Source: reference table ``system_parameters`` with its keys and defaults. Some are kept per node of
a cluster; the instance identifier and the name of the owners' group never change.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.system import SystemParameter
from postroad.centralserver.registry.names import check_node_address, check_url
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import MalformedInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change


class Parameter(StrEnum):
    """The keys, as the reference spells them."""

    CENTRAL_SERVER_ADDRESS = "centralServerAddress"
    INSTANCE_IDENTIFIER = "instanceIdentifier"
    AUTH_CERT_REG_URL = "authCertRegUrl"
    SIGN_DIGEST = "confSignDigestAlgoId"
    PART_DIGEST_URI = "confHashAlgoUri"
    CERTIFICATE_DIGEST_URI = "confSignCertHashAlgoUri"
    EXPIRE_INTERVAL = "confExpireIntervalSeconds"
    OWNERS_GROUP = "securityServerOwnersGroup"
    OCSP_FRESHNESS = "ocspFreshnessSeconds"
    TIMESTAMPING_INTERVAL = "timeStampingIntervalSeconds"
    PROVIDER_CLASS = "managementServiceProviderClass"
    PROVIDER_CODE = "managementServiceProviderCode"
    PROVIDER_SUBSYSTEM = "managementServiceProviderSubsystem"


ADDRESS_PLACEHOLDER = "%{centralServerAddress}"
"""Stands for the node's own address in ``authCertRegUrl``."""

DEFAULTS: dict[Parameter, str] = {
    Parameter.AUTH_CERT_REG_URL: f"https://{ADDRESS_PLACEHOLDER}:4001/managementservice/",
    Parameter.SIGN_DIGEST: "SHA-512",
    Parameter.PART_DIGEST_URI: "http://www.w3.org/2001/04/xmlenc#sha512",
    Parameter.CERTIFICATE_DIGEST_URI: "http://www.w3.org/2001/04/xmlenc#sha512",
    Parameter.EXPIRE_INTERVAL: "600",
    Parameter.OWNERS_GROUP: "security-server-owners",
    Parameter.OCSP_FRESHNESS: "3600",
    Parameter.TIMESTAMPING_INTERVAL: "60",
}
"""Values that hold while nothing else was set."""

PER_NODE = frozenset({Parameter.CENTRAL_SERVER_ADDRESS})
FIXED = frozenset({Parameter.INSTANCE_IDENTIFIER, Parameter.OWNERS_GROUP})
PROVIDER = frozenset(
    {Parameter.PROVIDER_CLASS, Parameter.PROVIDER_CODE, Parameter.PROVIDER_SUBSYSTEM}
)
"""Set together, as the management service provider."""

_STRONG_DIGESTS = (DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512)


@dataclass(frozen=True, slots=True)
class ParameterValue:
    """The value in force of one parameter; ``is_default`` when nobody set it."""

    key: Parameter
    value: str
    is_default: bool


def find_parameter(session: Session, key: Parameter, node_name: str = "") -> str | None:
    """The value in force on a node, defaults included; None when there is none."""
    row = _row(session, key, node_name)
    return DEFAULTS.get(key) if row is None else row.value


def number_parameter(session: Session, key: Parameter) -> int:
    """The value in force of a parameter that counts seconds."""
    return int(find_parameter(session, key) or "0")


def list_parameters(session: Session, node_name: str = "") -> list[ParameterValue]:
    """All parameters that have a value on this node, in a fixed order."""
    values = []
    for key in Parameter:
        row = _row(session, key, node_name)
        if row is not None:
            values.append(ParameterValue(key, row.value, is_default=False))
        elif key in DEFAULTS:
            values.append(ParameterValue(key, DEFAULTS[key], is_default=True))
    return values


def set_parameter(change: Change, key: Parameter, value: str, node_name: str = "") -> bool:
    """Set a parameter; False when it had the value already.

    Refuses parameters that never change, the provider's three (set them together) and values that
    would stop the generation of configuration.
    """
    if key in FIXED or key in PROVIDER:
        hint = "it never changes" if key in FIXED else "set the management service provider"
        raise RegistryRefusal(Problem.PARAMETER_IS_FIXED, f"{key.value} can't be set alone: {hint}")
    value = check_value(key, value)
    if find_parameter(change.session, key, node_name) == value:
        return False
    store_parameter(change.session, key, value, node_name)
    change.record("Edit system parameter", key=key.value, value=value)
    return True


def store_parameter(session: Session, key: Parameter, value: str, node_name: str = "") -> None:
    """Write the row of a parameter, whatever the rules; for operations that checked them."""
    row = _row(session, key, node_name)
    if row is None:
        node = node_name if key in PER_NODE else ""
        session.add(SystemParameter(key=key.value, value=value, node_name=node))
    else:
        row.value = value
    session.flush()


def parse_parameter(name: str) -> Parameter:
    """The parameter of that key."""
    try:
        return Parameter(name)
    except ValueError:
        known = ", ".join(key.value for key in Parameter)
        raise RegistryRefusal(
            Problem.UNKNOWN_PARAMETER, f"no system parameter {name!r}; there are: {known}"
        ) from None


def check_value(key: Parameter, value: str) -> str:
    """The value, trimmed and in the form that is stored, when the parameter can have it."""
    value = value.strip()
    checked: str
    match key:
        case Parameter.CENTRAL_SERVER_ADDRESS:
            checked = check_node_address(value)
        case Parameter.AUTH_CERT_REG_URL:
            check_url(key.value, value.replace(ADDRESS_PLACEHOLDER, "central.example"))
            checked = value
        case Parameter.SIGN_DIGEST:
            checked = _digest(key, value, DigestAlgorithm.by_name).label
        case Parameter.PART_DIGEST_URI | Parameter.CERTIFICATE_DIGEST_URI:
            checked = _digest(key, value, DigestAlgorithm.by_uri).uri
        case Parameter.EXPIRE_INTERVAL:
            # Below two generations nobody could rely on the configuration.
            checked = _seconds(key, value, 120, 7 * 86400)
        case Parameter.OCSP_FRESHNESS | Parameter.TIMESTAMPING_INTERVAL:
            checked = _seconds(key, value, 60, 86400)
        case _:
            raise RegistryRefusal(Problem.PARAMETER_IS_FIXED, f"{key.value} can't be set alone")
    return checked


def own_instance(session: Session) -> str:
    """The identifier of this instance.

    Refused before the Central Server was initialised.
    """
    value = find_parameter(session, Parameter.INSTANCE_IDENTIFIER)
    if value is None:
        raise RegistryRefusal(
            Problem.NOT_INITIALIZED,
            "the Central Server is not initialised; run `postroad central init`",
        )
    return value


def _row(session: Session, key: Parameter, node_name: str) -> SystemParameter | None:
    node = node_name if key in PER_NODE else ""
    wanted = select(SystemParameter).where(
        SystemParameter.key == key.value, SystemParameter.node_name == node
    )
    return session.scalars(wanted).one_or_none()


def _digest(key: Parameter, value: str, find: Callable[[str], DigestAlgorithm]) -> DigestAlgorithm:
    try:
        algorithm = find(value)
    except MalformedInput:
        algorithm = None
    if algorithm not in _STRONG_DIGESTS:
        raise RegistryRefusal(
            Problem.INVALID_VALUE, f"{key.value} must be SHA-256, SHA-384 or SHA-512, not {value!r}"
        )
    return algorithm


def _seconds(key: Parameter, value: str, least: int, most: int) -> str:
    if not (value.isascii() and value.isdigit() and least <= int(value[:9]) <= most):
        raise RegistryRefusal(
            Problem.INVALID_VALUE, f"{key.value} must be {least} to {most} seconds, not {value!r}"
        )
    return str(int(value))
