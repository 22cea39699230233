"""How is the list of members and subsystems written that ``listClients`` answers with?

Source: PR-META 2, annexes A and C.1; reference: MetadataClientRequestProcessor, whose XML is
indented and whose JSON names the fields in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from postroad.identifiers import MemberId, SubsystemId
from postroad.wire.headers import all_values
from postroad.wire.xml import IDENTIFIERS, XROAD, escape_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroad.globalconf.shared_parameters import SharedParameters
    from postroad.wire.headers import HeaderList

XML_TYPE: Final = "text/xml; charset=UTF-8"
JSON_TYPE: Final = "application/json; charset=utf-8"


class ListedId(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An identifier as JSON has it."""

    member_class: str
    member_code: str
    subsystem_code: str | None = None
    object_type: str
    xroad_instance: str


class ListedClient(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member, or a subsystem with its member's name."""

    id: ListedId
    name: str
    subsystem_name: str | None = None


class ClientList(msgspec.Struct, frozen=True):
    """Every member of an instance, each followed by its subsystems."""

    member: tuple[ListedClient, ...]

    @classmethod
    def of(cls, shared: SharedParameters) -> ClientList:
        """The list of one instance; members without servers are in it too."""
        return cls(tuple(_entries(shared)))

    def encode_json(self) -> bytes:
        """The list as ``application/json``."""
        return msgspec.json.encode(self)

    def encode_xml(self) -> bytes:
        """The list as ``text/xml``."""
        lines = [
            '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>',
            f'<ns2:clientList xmlns:ns1="{IDENTIFIERS}" xmlns:ns2="{XROAD}">',
        ]
        for client in self.member:
            lines += _lines(client)
        lines += ["</ns2:clientList>", ""]
        return "\n".join(lines).encode("utf-8")


def wants_json(headers: HeaderList) -> bool:
    """Whether ``Accept`` names JSON anywhere; parameters, quality among them, aren't looked at.

    >>> wants_json((("Accept", "text/xml;q=1.0, application/json;q=0.1"),))
    True
    """
    return any(
        choice.partition(";")[0].strip().lower() == "application/json"
        for value in all_values(headers, "accept")
        for choice in value.split(",")
    )


def _entries(shared: SharedParameters) -> Iterator[ListedClient]:
    for member in shared.members:
        names = (shared.instance, member.member_class.code, member.code)
        yield ListedClient(id=_listed(MemberId(*names)), name=member.name)
        for subsystem in member.subsystems:
            yield ListedClient(
                id=_listed(SubsystemId(*names, subsystem.code)),
                name=member.name,
                subsystem_name=subsystem.name,
            )


def _listed(client: MemberId | SubsystemId) -> ListedId:
    is_subsystem = isinstance(client, SubsystemId)
    return ListedId(
        member_class=client.member_class,
        member_code=client.member_code,
        subsystem_code=client.subsystem_code if isinstance(client, SubsystemId) else None,
        object_type="SUBSYSTEM" if is_subsystem else "MEMBER",
        xroad_instance=client.instance,
    )


def _lines(client: ListedClient) -> Iterator[str]:
    identifier = client.id
    yield "    <ns2:member>"
    yield f'        <ns2:id ns1:objectType="{identifier.object_type}">'
    for name, value in (
        ("xRoadInstance", identifier.xroad_instance),
        ("memberClass", identifier.member_class),
        ("memberCode", identifier.member_code),
        ("subsystemCode", identifier.subsystem_code),
    ):
        if value is not None:
            yield f"            <ns1:{name}>{escape_text(value)}</ns1:{name}>"
    yield "        </ns2:id>"
    for name, value in (("name", client.name), ("subsystemName", client.subsystem_name)):
        if value is not None:
            yield f"        <ns2:{name}>{escape_text(value)}</ns2:{name}>"
    yield "    </ns2:member>"
