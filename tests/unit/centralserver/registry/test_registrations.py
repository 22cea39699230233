"""Requests that wait for approval: what is refused at once, and what an approval does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from postroad.centralserver.registry import groups, members, servers
from postroad.centralserver.registry.management_requests import (
    AutomaticApprovals,
    add_request,
    approve_request,
    decline_request,
)
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.requests import decided_together, list_requests, load_request
from postroad.identifiers import ClientId, MemberId, SecurityServerId, SubsystemId
from postroad.management.lifecycle import RequestOrigin
from postroad.management.requests import (
    AuthCertDeletion,
    AuthCertRegistration,
    ClientDeletion,
    ClientRegistration,
    ManagementRequest,
    OwnerChange,
)
from postroad.trustlab.authority import TrustLab
from support.central_server import (
    CLIENT,
    MANAGEMENT,
    NOW,
    OTHER,
    OTHER_SERVER,
    OWNER,
    SERVER,
    Registry,
    approve_trust_services,
    auth_certificate,
    lab,
    registry_in_memory,
)

ALL = AutomaticApprovals(
    auth_cert_registrations=True, client_registrations=True, owner_changes=True
)
CENTRE, FROM_SERVER = RequestOrigin.CENTRE, RequestOrigin.SECURITY_SERVER
NEW_CERTIFICATE = auth_certificate(SERVER, 1)
NEW_SERVER = SecurityServerId("DEV", "GOV", "2", "SS9")
NEWCOMER = SecurityServerId("DEV", "GOV", "7", "SS1")
SHOP = SubsystemId("DEV", "GOV", "2", "shop")
RENEWAL = AuthCertRegistration(SERVER, NEW_CERTIFICATE, "moved.example")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with registry_in_memory(filled=True) as registry:
        with registry.changing() as change:
            approve_trust_services(change)
        yield registry


def add(
    registry: Registry,
    request: ManagementRequest,
    origin: RequestOrigin = FROM_SERVER,
    automatic: AutomaticApprovals | None = None,
    digest: str | None = None,
) -> int:
    with registry.changing() as change:
        row = add_request(change, request, origin, automatic=automatic, message_digest=digest)
        return row.id


def approve(registry: Registry, request_id: int) -> None:
    with registry.changing() as change:
        approve_request(change, request_id)


def decline(registry: Registry, request_id: int) -> None:
    with registry.changing() as change:
        decline_request(change, request_id)


def status(registry: Registry, request_id: int) -> str | None:
    with registry.reading() as session:
        return load_request(session, request_id).status


def refused(
    registry: Registry, request: ManagementRequest, origin: RequestOrigin = FROM_SERVER
) -> Problem:
    with pytest.raises(RegistryRefusal) as refusal:
        add(registry, request, origin)
    return refusal.value.problem


def certificates(registry: Registry, server: SecurityServerId) -> list[bytes]:
    with registry.reading() as session:
        found = servers.find_server(session, server)
        return [] if found is None else [row.certificate for row in found.auth_certificates]


def clients(registry: Registry, server: SecurityServerId) -> set[ClientId]:
    with registry.reading() as session:
        found = servers.load_server(session, server)
        return {servers.client_of(session, row) for row in found.clients}


def owners(registry: Registry) -> set[ClientId]:
    with registry.reading() as session:
        group = groups.load_group(session, "security-server-owners")
        return set(groups.group_clients(group))


# --- authentication certificates ------------------------------------------------------------------


def test_a_registration_waits_and_changes_nothing(registry: Registry) -> None:
    request_id = add(registry, RENEWAL)
    assert status(registry, request_id) == "WAITING"
    assert NEW_CERTIFICATE not in certificates(registry, SERVER)


def test_approving_adds_the_certificate_and_overwrites_the_address(registry: Registry) -> None:
    request_id = add(registry, RENEWAL)
    approve(registry, request_id)
    assert status(registry, request_id) == "APPROVED"
    assert NEW_CERTIFICATE in certificates(registry, SERVER)
    with registry.reading() as session:
        assert servers.load_server(session, SERVER).address == "moved.example"


def test_approving_makes_a_newcomer_a_member_named_after_its_code(registry: Registry) -> None:
    request = AuthCertRegistration(NEWCOMER, auth_certificate(NEWCOMER), "ss7.example")
    approve(registry, add(registry, request, automatic=ALL))
    with registry.reading() as session:
        assert members.load_member(session, NEWCOMER.owner).name == "7"
    assert NEWCOMER.owner in owners(registry)


def test_a_declined_registration_changes_nothing_and_can_be_made_again(registry: Registry) -> None:
    request_id = add(registry, RENEWAL)
    decline(registry, request_id)
    assert status(registry, request_id) == "DECLINED"
    assert NEW_CERTIFICATE not in certificates(registry, SERVER)
    assert status(registry, add(registry, RENEWAL)) == "WAITING"


@pytest.mark.parametrize("decide", [approve, decline])
@pytest.mark.parametrize("before", [approve, decline])
def test_a_request_is_decided_once(registry: Registry, before: object, decide: object) -> None:
    assert callable(before)
    assert callable(decide)
    request_id = add(registry, RENEWAL)
    before(registry, request_id)
    with pytest.raises(RegistryRefusal) as refusal:
        decide(registry, request_id)
    approving = decide is approve
    assert refusal.value.problem is (
        Problem.REQUEST_APPROVAL_STATE if approving else Problem.REQUEST_STATE
    )
    assert refusal.value.http_status == 400


def test_the_same_request_is_refused_while_it_waits(registry: Registry) -> None:
    add(registry, RENEWAL)
    assert refused(registry, RENEWAL) is Problem.REQUEST_EXISTS
    elsewhere = AuthCertRegistration(OTHER_SERVER, NEW_CERTIFICATE, "a.example")
    assert refused(registry, elsewhere) is Problem.REQUEST_EXISTS
    assert refused(registry, elsewhere, CENTRE) is Problem.REQUEST_EXISTS


def test_a_registered_certificate_cannot_be_registered_again(registry: Registry) -> None:
    again = AuthCertRegistration(SERVER, auth_certificate(SERVER), "a.example")
    assert refused(registry, again) is Problem.REQUEST_CERTIFICATE_REGISTERED
    stolen = AuthCertRegistration(OTHER_SERVER, auth_certificate(SERVER), "a.example")
    assert refused(registry, stolen) is Problem.REQUEST_CERTIFICATE_REGISTERED


def test_the_certificate_must_be_a_valid_one_of_an_approved_authority(registry: Registry) -> None:
    other_lab = TrustLab.create(at=NOW, name="Other")
    for der in (
        b"",
        lab().sign_certificate(OWNER).certificate.der,
        lab().ca_certificate.der,
        other_lab.auth_certificate(SERVER).certificate.der,
        lab().auth_certificate(SERVER, days=-1).certificate.der,
    ):
        request = AuthCertRegistration(SERVER, der, "a.example")
        assert refused(registry, request) is Problem.REQUEST_AUTH_CERTIFICATE


def test_a_foreign_server_is_refused(registry: Registry) -> None:
    foreign = SecurityServerId("FI", "GOV", "1", "SS1")
    request = AuthCertRegistration(foreign, NEW_CERTIFICATE, "a.example")
    assert refused(registry, request) is Problem.FOREIGN_INSTANCE


def test_the_centre_registers_for_known_owners_only(registry: Registry) -> None:
    request = AuthCertRegistration(NEWCOMER, auth_certificate(NEWCOMER), "ss7.example")
    assert refused(registry, request, CENTRE) is Problem.REQUEST_OWNER_NOT_FOUND


def test_what_could_never_be_approved_does_not_wait(registry: Registry) -> None:
    for server, problem in (
        (SecurityServerId("DEV", "NGO", "1", "SS1"), Problem.MEMBER_CLASS_NOT_FOUND),
        (SecurityServerId("DEV", "GOV", "1", "SS 1!"), Problem.INVALID_IDENTIFIER),
        (SecurityServerId("DEV", "GOV", "7#", "SS1"), Problem.INVALID_IDENTIFIER),
    ):
        request = AuthCertRegistration(server, NEW_CERTIFICATE, "a.example")
        assert refused(registry, request) is problem
    nowhere = AuthCertRegistration(SERVER, NEW_CERTIFICATE, "no address")
    assert refused(registry, nowhere, CENTRE) is Problem.INVALID_VALUE


@pytest.mark.parametrize("origin", [CENTRE, FROM_SERVER])
def test_deleting_revokes_a_registration_that_waits(
    registry: Registry, origin: RequestOrigin
) -> None:
    waiting = add(registry, RENEWAL, origin)
    add(registry, AuthCertDeletion(SERVER, NEW_CERTIFICATE))
    assert status(registry, waiting) == "REVOKED"
    assert add(registry, RENEWAL) > waiting


def test_what_only_the_centre_asked_for_is_revoked_not_declined(registry: Registry) -> None:
    ours, theirs = add(registry, RENEWAL, CENTRE), add(registry, ClientRegistration(SERVER, SHOP))
    decline(registry, ours)
    decline(registry, theirs)
    assert (status(registry, ours), status(registry, theirs)) == ("REVOKED", "DECLINED")


# --- both sides ask -------------------------------------------------------------------------------


def test_requests_of_both_sides_are_decided_together(registry: Registry) -> None:
    first = add(registry, RENEWAL)
    second = add(registry, RENEWAL, CENTRE)
    assert status(registry, first) == status(registry, second) == "SUBMITTED FOR APPROVAL"
    with registry.reading() as session:
        together = decided_together(session, load_request(session, second))
        assert [row.id for row in together] == [first, second]
    assert refused(registry, RENEWAL) is Problem.REQUEST_EXISTS
    approve(registry, second)
    assert status(registry, first) == status(registry, second) == "APPROVED"
    assert NEW_CERTIFICATE in certificates(registry, SERVER)


def test_a_server_that_follows_the_centre_is_approved_at_once(registry: Registry) -> None:
    first = add(registry, RENEWAL, CENTRE)
    second = add(registry, RENEWAL)
    assert status(registry, first) == status(registry, second) == "APPROVED"


def test_what_both_sides_asked_for_only_an_operator_ends(registry: Registry) -> None:
    rows = [add(registry, RENEWAL), add(registry, RENEWAL, CENTRE)]
    deletion = AuthCertDeletion(SERVER, NEW_CERTIFICATE)
    assert refused(registry, deletion) is Problem.REQUEST_AUTH_CERTIFICATE
    decline(registry, rows[1])
    assert [status(registry, row) for row in rows] == ["DECLINED", "DECLINED"]


# --- automatic approval ---------------------------------------------------------------------------


def test_nothing_is_approved_automatically_by_default(registry: Registry) -> None:
    for request in (RENEWAL, ClientRegistration(SERVER, SHOP)):
        assert status(registry, add(registry, request)) == "WAITING"


def test_automatic_approval_needs_known_parties(registry: Registry) -> None:
    stranger = SubsystemId("DEV", "GOV", "8", "x")
    known = (
        RENEWAL,
        AuthCertRegistration(NEW_SERVER, auth_certificate(NEW_SERVER), "a.example"),
        ClientRegistration(SERVER, SHOP),
    )
    unknown = (
        AuthCertRegistration(NEWCOMER, auth_certificate(NEWCOMER), "a.example"),
        ClientRegistration(SERVER, stranger),
        ClientRegistration(NEWCOMER, SHOP),
    )
    for requests, expected in ((known, "APPROVED"), (unknown, "WAITING")):
        for request in requests:
            assert status(registry, add(registry, request, automatic=ALL)) == expected


def test_what_the_centre_asks_for_is_never_approved_automatically(registry: Registry) -> None:
    assert status(registry, add(registry, RENEWAL, CENTRE, ALL)) == "WAITING"


@pytest.mark.parametrize(
    ("request_", "setting"),
    [
        (RENEWAL, "auth_cert_registrations"),
        (ClientRegistration(SERVER, SHOP), "client_registrations"),
    ],
)
def test_each_kind_has_a_setting_of_its_own(
    registry: Registry, request_: ManagementRequest, setting: str
) -> None:
    others = {name: True for name in AutomaticApprovals.__slots__ if name != setting}
    first = add(registry, request_, automatic=AutomaticApprovals(**others))
    assert status(registry, first) == "WAITING"
    decline(registry, first)
    second = add(registry, request_, automatic=AutomaticApprovals(**{setting: True}))
    assert status(registry, second) == "APPROVED"


# --- clients --------------------------------------------------------------------------------------


def test_approving_a_client_creates_what_is_missing(registry: Registry) -> None:
    stranger = SubsystemId("DEV", "GOV", "8", "app")
    approve(registry, add(registry, ClientRegistration(SERVER, stranger, " App ")))
    assert stranger in clients(registry, SERVER)
    with registry.reading() as session:
        assert members.load_member(session, stranger.member).name == "8"
        assert members.load_subsystem(session, stranger).name == "App"


def test_a_member_itself_can_be_a_client(registry: Registry) -> None:
    approve(registry, add(registry, ClientRegistration(SERVER, OTHER)))
    assert OTHER in clients(registry, SERVER)


def test_a_name_renames_a_known_subsystem_and_history_says_so(registry: Registry) -> None:
    request_id = add(registry, ClientRegistration(SERVER, CLIENT, "New name"))
    approve(registry, request_id)
    with registry.reading() as session:
        assert members.load_subsystem(session, CLIENT).name == "New name"
        comments = load_request(session, request_id).comments
    assert comments == "Changing subsystem name from '' to 'New name'."


def test_an_empty_name_leaves_the_name_alone(registry: Registry) -> None:
    with registry.changing() as change:
        members.rename_subsystem(change, CLIENT, "Kept")
    approve(registry, add(registry, ClientRegistration(SERVER, CLIENT, " ")))
    with registry.reading() as session:
        assert members.load_subsystem(session, CLIENT).name == "Kept"


def test_refuses_client_registrations(registry: Registry) -> None:
    for request, origin, problem in (
        (ClientRegistration(SERVER, OWNER), FROM_SERVER, Problem.CANNOT_REGISTER_OWNER),
        (ClientRegistration(SERVER, MANAGEMENT), FROM_SERVER, Problem.REQUEST_CLIENT_REGISTERED),
        (ClientRegistration(NEWCOMER, SHOP), CENTRE, Problem.REQUEST_SERVER_NOT_FOUND),
        (
            ClientRegistration(SERVER, SubsystemId("DEV", "GOV", "8", "x")),
            CENTRE,
            Problem.REQUEST_MEMBER_NOT_FOUND,
        ),
        (
            ClientRegistration(SERVER, SubsystemId("FI", "GOV", "2", "x")),
            FROM_SERVER,
            Problem.FOREIGN_INSTANCE,
        ),
        (
            ClientRegistration(SERVER, SubsystemId("DEV", "GOV", "2", "x y!")),
            FROM_SERVER,
            Problem.INVALID_IDENTIFIER,
        ),
        (
            ClientRegistration(SERVER, SubsystemId("DEV", "NGO", "2", "x")),
            FROM_SERVER,
            Problem.MEMBER_CLASS_NOT_FOUND,
        ),
        (ClientRegistration(SERVER, SHOP, "a\nb"), FROM_SERVER, Problem.INVALID_VALUE),
    ):
        assert refused(registry, request, origin) is problem


def test_a_client_waits_once_for_each_server(registry: Registry) -> None:
    add(registry, ClientRegistration(SERVER, SHOP))
    assert refused(registry, ClientRegistration(SERVER, SHOP)) is Problem.REQUEST_EXISTS
    assert status(registry, add(registry, ClientRegistration(OTHER_SERVER, SHOP))) == "WAITING"


def test_approving_a_client_of_an_unknown_server_is_refused_and_it_goes_on_waiting(
    registry: Registry,
) -> None:
    request_id = add(registry, ClientRegistration(NEWCOMER, SHOP))
    with pytest.raises(RegistryRefusal):
        approve(registry, request_id)
    assert status(registry, request_id) == "WAITING"


def test_deleting_a_client_revokes_its_registration_and_tolerates_a_declined_one(
    registry: Registry,
) -> None:
    registration, deletion = ClientRegistration(SERVER, SHOP), ClientDeletion(SERVER, SHOP)
    request_id = add(registry, registration)
    add(registry, deletion)
    assert status(registry, request_id) == "REVOKED"
    assert refused(registry, deletion) is Problem.REQUEST_REGISTRATION_NOT_FOUND
    decline(registry, add(registry, registration))
    add(registry, deletion)


# --- owners ---------------------------------------------------------------------------------------


def test_a_change_of_owner_swaps_owner_and_client(registry: Registry) -> None:
    approve(registry, add(registry, ClientRegistration(SERVER, OTHER)))
    request_id = add(registry, OwnerChange(SERVER, OTHER))
    assert status(registry, request_id) == "WAITING"
    approve(registry, request_id)
    moved = SecurityServerId("DEV", "GOV", "2", "SS1")
    assert certificates(registry, moved) == [auth_certificate(SERVER)]
    assert clients(registry, moved) == {MANAGEMENT, OWNER}
    assert owners(registry) == {OTHER}
    with registry.reading() as session:
        assert servers.find_server(session, SERVER) is None
        assert {server.server_code for server in servers.list_servers(session)} == {"SS1", "SS2"}


def test_an_owner_with_another_server_stays_an_owner(registry: Registry) -> None:
    third = MemberId("DEV", "GOV", "3")
    with registry.changing() as change:
        members.add_member(change, third, "Third")
        second = SecurityServerId("DEV", "GOV", "1", "SSX")
        servers.register_server(change, second, auth_certificate=auth_certificate(second))
        servers.register_client(change, SERVER, third)
    request_id = add(registry, OwnerChange(SERVER, third), automatic=ALL)
    assert status(registry, request_id) == "APPROVED"
    assert owners(registry) == {OWNER, OTHER, third}


def test_refuses_changes_of_owner(registry: Registry) -> None:
    stranger = MemberId("DEV", "GOV", "8")
    for request, problem in (
        (OwnerChange(NEWCOMER, OTHER), Problem.REQUEST_SERVER_NOT_FOUND),
        (OwnerChange(SERVER, MANAGEMENT), Problem.REQUEST_OWNER_NOT_MEMBER),
        (OwnerChange(SERVER, OWNER), Problem.REQUEST_ALREADY_OWNER),
        (OwnerChange(SERVER, OTHER), Problem.REQUEST_OWNER_NOT_CLIENT),
        (OwnerChange(SERVER, stranger), Problem.REQUEST_OWNER_NOT_CLIENT),
    ):
        assert refused(registry, request) is problem
    with registry.changing() as change:
        servers.register_client(change, SERVER, OTHER)
        taken = SecurityServerId("DEV", "GOV", "2", "SS1")
        servers.register_server(change, taken, auth_certificate=auth_certificate(taken))
    assert refused(registry, OwnerChange(SERVER, OTHER)) is Problem.REQUEST_SERVER_CODE_EXISTS


def test_one_change_of_owner_at_a_time(registry: Registry) -> None:
    third = MemberId("DEV", "GOV", "3")
    with registry.changing() as change:
        members.add_member(change, third, "Third")
        servers.register_client(change, SERVER, OTHER)
        servers.register_client(change, SERVER, third)
    add(registry, OwnerChange(SERVER, OTHER))
    assert refused(registry, OwnerChange(SERVER, third)) is Problem.REQUEST_EXISTS


# --- history --------------------------------------------------------------------------------------


def test_a_message_counts_once_whatever_became_of_its_request(registry: Registry) -> None:
    request_id = add(registry, RENEWAL, digest="d" * 64)
    decline(registry, request_id)
    with pytest.raises(RegistryRefusal) as refusal:
        add(registry, RENEWAL, digest="d" * 64)
    assert refusal.value.problem is Problem.REQUEST_EXISTS
    assert status(registry, add(registry, RENEWAL, digest="e" * 64)) == "WAITING"


def test_a_refused_message_may_come_again(registry: Registry) -> None:
    with pytest.raises(RegistryRefusal):
        add(registry, ClientRegistration(SERVER, OWNER), digest="d" * 64)
    assert status(registry, add(registry, RENEWAL, digest="d" * 64)) == "WAITING"


def test_requests_can_be_listed_by_state(registry: Registry) -> None:
    waiting = add(registry, ClientRegistration(SERVER, SHOP))
    approve(registry, add(registry, RENEWAL))
    with registry.reading() as session:
        assert [row.id for row in list_requests(session, states=("WAITING",))] == [waiting]
        assert len(list_requests(session)) == 2


@pytest.mark.parametrize("decide", [approve_request, decline_request])
def test_an_unknown_request_and_one_without_states_cannot_be_decided(
    registry: Registry, decide: object
) -> None:
    assert callable(decide)
    immediate = add(registry, ClientDeletion(SERVER, MANAGEMENT))
    for request_id, problem in (
        (999, Problem.REQUEST_NOT_FOUND),
        (immediate, Problem.REQUEST_STATE),
    ):
        with pytest.raises(RegistryRefusal) as refusal, registry.changing() as change:
            decide(change, request_id)
        assert refusal.value.problem is problem
