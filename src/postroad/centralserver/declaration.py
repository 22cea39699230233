"""How does one file say what the registry should hold, and how is that brought about?

A TOML file names member classes, members, trust services, groups and parameters. Applying it adds
and changes what is missing or different and never removes anything; applying it twice does nothing
the second time. Paths in it are relative to the file. Servers and clients can't be declared: they
register by the requests that they sign.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import msgspec

from postroad.adapters.files import read_bounded
from postroad.centralserver.registry import groups, members, provider, trust_services
from postroad.centralserver.registry.parameters import parse_parameter, set_parameter
from postroad.errors import ConfigurationError
from postroad.globalconf.shared_parameters import CostType, CsrFormat
from postroad.identifiers import MemberId, SubsystemId, parse_client_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroad.centralserver.models.trust_services import CaCertificate
    from postroad.centralserver.registry.change import Change

_MAX_FILE_BYTES = 4 * 1024 * 1024


class DeclaredClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[member_class]]``."""

    code: str
    description: str


class DeclaredSubsystem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[member.subsystem]]``."""

    code: str
    name: str | None = None


class DeclaredMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[member]]``: ``id`` is ``INSTANCE/CLASS/CODE``, percent-escaped as in headers."""

    id: str
    name: str
    subsystem: list[DeclaredSubsystem] = []


class DeclaredOcsp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[certification_service.ocsp]]``."""

    url: str
    certificate: str | None = None
    cost_type: CostType = CostType.UNDEFINED


class DeclaredIntermediate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[certification_service.intermediate]]``."""

    certificate: str
    ocsp: list[DeclaredOcsp] = []


class DeclaredAcme(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[certification_service.acme]``."""

    directory_url: str
    ip_address: str | None = None
    authentication_profile_id: str | None = None
    signing_profile_id: str | None = None


class DeclaredCa(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[certification_service]]``."""

    certificate: str
    profile: str
    authentication_only: bool = False
    default_csr_format: CsrFormat | None = None
    acme: DeclaredAcme | None = None
    ocsp: list[DeclaredOcsp] = []
    intermediate: list[DeclaredIntermediate] = []


class DeclaredTsa(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[timestamping_service]]``."""

    certificate: str
    url: str
    cost_type: CostType = CostType.UNDEFINED


class DeclaredGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[group]]``."""

    code: str
    description: str
    members: list[str] = []


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    management_provider: str | None = None
    member_class: list[DeclaredClass] = []
    member: list[DeclaredMember] = []
    certification_service: list[DeclaredCa] = []
    timestamping_service: list[DeclaredTsa] = []
    group: list[DeclaredGroup] = []
    parameters: dict[str, str | int] = {}


def load_declaration(path: Path) -> Declaration:
    """Read a declaration; ``ConfigurationError`` names the key and what is wrong with it."""
    try:
        data = tomllib.loads(read_bounded(path, _MAX_FILE_BYTES).decode("utf-8"))
        return msgspec.convert(data, Declaration)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def apply_declaration(change: Change, declared: Declaration, base: Path) -> None:
    """Bring the registry to what is declared; what was done stands in ``change.entries``.

    ``base`` is the directory that paths are relative to. Raises ``RegistryRefusal`` for what a
    rule forbids, and then nothing of it takes effect.
    """
    for member_class in declared.member_class:
        _apply_class(change, member_class)
    for member in declared.member:
        _apply_member(change, member)
    if declared.management_provider is not None:
        provider.set_management_provider(change, parse_client_id(declared.management_provider))
    for ca in declared.certification_service:
        _apply_ca(change, ca, base)
    for tsa in declared.timestamping_service:
        _apply_tsa(change, tsa, base)
    for group in declared.group:
        _apply_group(change, group)
    for name, value in declared.parameters.items():
        set_parameter(change, parse_parameter(name), str(value))


def _apply_class(change: Change, declared: DeclaredClass) -> None:
    known = {row.code for row in members.list_member_classes(change.session)}
    if declared.code in known:
        members.describe_member_class(change, declared.code, declared.description)
    else:
        members.add_member_class(change, declared.code, declared.description)


def _apply_member(change: Change, declared: DeclaredMember) -> None:
    member = MemberId.parse(declared.id)
    if members.find_member(change.session, member) is None:
        members.add_member(change, member, declared.name)
    else:
        members.rename_member(change, member, declared.name)
    for child in declared.subsystem:
        subsystem = SubsystemId(
            member.instance, member.member_class, member.member_code, child.code
        )
        if members.find_subsystem(change.session, subsystem) is None:
            members.add_subsystem(change, subsystem, child.name)
        elif child.name is not None:
            members.rename_subsystem(change, subsystem, child.name)


def _apply_ca(change: Change, declared: DeclaredCa, base: Path) -> None:
    certificate = read_bounded(base / declared.certificate, _MAX_FILE_BYTES)
    acme = declared.acme
    settings = trust_services.CaSettings(
        certificate_profile_info=declared.profile,
        authentication_only=declared.authentication_only,
        default_csr_format=declared.default_csr_format,
        acme=None if acme is None else trust_services.AcmeSettings(**msgspec.structs.asdict(acme)),
    )
    ca = trust_services.find_ca_by_certificate(change.session, certificate)
    if ca is None:
        ca = trust_services.add_approved_ca(change, certificate, settings)
    else:
        trust_services.edit_approved_ca(change, ca.id, settings)
    _apply_ocsp(change, trust_services.top_certificate(ca), declared.ocsp, base)
    for child in declared.intermediate:
        data = read_bounded(base / child.certificate, _MAX_FILE_BYTES)
        known = trust_services.find_intermediate_ca(ca, data)
        issuer = known or trust_services.add_intermediate_ca(change, ca.id, data)
        _apply_ocsp(change, issuer, child.ocsp, base)


def _apply_ocsp(
    change: Change, issuer: CaCertificate, declared: Sequence[DeclaredOcsp], base: Path
) -> None:
    for responder in declared:
        certificate = (
            read_bounded(base / responder.certificate, _MAX_FILE_BYTES)
            if responder.certificate
            else None
        )
        known = next((row for row in issuer.ocsp_responders if row.url == responder.url), None)
        if known is None:
            trust_services.add_ocsp_responder(
                change,
                issuer,
                responder.url,
                certificate=certificate,
                cost_type=responder.cost_type,
            )
        else:
            trust_services.edit_ocsp_responder(
                change,
                known.id,
                url=responder.url,
                certificate=certificate,
                cost_type=responder.cost_type,
            )


def _apply_tsa(change: Change, declared: DeclaredTsa, base: Path) -> None:
    certificate = read_bounded(base / declared.certificate, _MAX_FILE_BYTES)
    known = trust_services.find_tsa(change.session, certificate, declared.url)
    if known is None:
        trust_services.add_tsa(change, certificate, declared.url, cost_type=declared.cost_type)
    else:
        trust_services.edit_tsa(change, known.id, url=declared.url, cost_type=declared.cost_type)


def _apply_group(change: Change, declared: DeclaredGroup) -> None:
    if groups.find_group(change.session, declared.code) is None:
        groups.add_group(change, declared.code, declared.description)
    else:
        groups.describe_group(change, declared.code, declared.description)
    clients = [parse_client_id(client) for client in declared.members]
    groups.add_group_members(change, declared.code, clients)
