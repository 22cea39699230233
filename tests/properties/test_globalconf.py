"""Global configuration: what is written is read back, what is broken ends in a documented error."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import PostroadError
from postroad.globalconf.anchor import Anchor, Source
from postroad.globalconf.directory import (
    PartReference,
    SignedDirectory,
    parse_directory,
    sign_directory,
    verify_directory,
)
from postroad.globalconf.multipart import split_multipart
from postroad.globalconf.parts import PartMetadata, decode_directory_name, encode_directory_name
from postroad.globalconf.private_parameters import ManagementService, PrivateParameters
from postroad.globalconf.shared_parameters import (
    AcmeServer,
    ApprovedCa,
    ApprovedTsa,
    CertificationAuthority,
    ConfigurationSource,
    CostType,
    CsrFormat,
    GlobalGroup,
    GlobalSettings,
    Member,
    MemberClass,
    OcspInfo,
    SecurityServer,
    SharedParameters,
    Subsystem,
)
from postroad.globalconf.source_replacement import replace_sources
from postroad.globalconf.source_state import ClientState, RememberedLocation, SourceState
from postroad.globalconf.trusted import History
from postroad.identifiers import ClientId, MemberId, SubsystemId
from support.globalconf import ANCHORS, SIGNED, STORED, boundaries, signing_key

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
EXAMPLES = settings(max_examples=60, deadline=None)

# Characters that XML can carry, without the carriage return's special case in headers.
TEXT = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc")),
    max_size=20,
)
CODE = st.text("abcXYZ019-_.äß &<>'\"/", min_size=1, max_size=12).filter(str.strip)
DER = st.binary(max_size=40)
SECONDS = st.integers(1, 10_000_000)
FIRST, LAST = datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2100-01-01")
MOMENT = st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)


def tuples(
    strategy: st.SearchStrategy[_T], *, min_size: int = 0, max_size: int = 3
) -> st.SearchStrategy[tuple[_T, ...]]:
    return st.lists(strategy, min_size=min_size, max_size=max_size).map(tuple)


SOURCES = st.builds(ConfigurationSource, TEXT, tuples(DER), tuples(DER))
OCSP = st.builds(OcspInfo, TEXT, st.none() | DER, st.none() | st.sampled_from(CostType))
AUTHORITY = st.builds(CertificationAuthority, DER, tuples(OCSP))
ACME = st.builds(AcmeServer, TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT)
CA = st.builds(
    ApprovedCa,
    name=TEXT,
    top=AUTHORITY,
    certificate_profile=TEXT,
    authentication_only=st.booleans(),
    intermediates=tuples(AUTHORITY),
    default_csr_format=st.none() | st.sampled_from(CsrFormat),
    acme_server=st.none() | ACME,
)
TSA = st.builds(ApprovedTsa, TEXT, TEXT, DER, st.none() | st.sampled_from(CostType))
MEMBER_CLASS = st.builds(MemberClass, CODE, TEXT)
SUBSYSTEMS = st.lists(
    st.builds(Subsystem, CODE, st.none() | TEXT), max_size=3, unique_by=lambda s: s.code
).map(tuple)
MEMBERS = st.lists(
    st.builds(Member, MEMBER_CLASS, CODE, TEXT, SUBSYSTEMS),
    min_size=1,
    max_size=4,
    unique_by=lambda member: (member.member_class.code, member.code),
).map(tuple)
CLIENT = st.builds(MemberId, CODE, CODE, CODE) | st.builds(SubsystemId, CODE, CODE, CODE, CODE)
GROUP = st.builds(GlobalGroup, TEXT, TEXT, tuples(CLIENT))
SETTINGS = st.builds(GlobalSettings, tuples(MEMBER_CLASS), SECONDS)


@st.composite
def shared_parameters(draw: st.DrawFn) -> SharedParameters:
    instance = draw(CODE)
    members = draw(MEMBERS)
    clients: list[ClientId] = []
    for member in members:
        owner = MemberId(instance, member.member_class.code, member.code)
        clients.append(owner)
        clients.extend(
            SubsystemId(owner.instance, owner.member_class, owner.member_code, s.code)
            for s in member.subsystems
        )
    server = st.builds(
        SecurityServer,
        owner=st.sampled_from([c for c in clients if isinstance(c, MemberId)]),
        code=CODE,
        address=st.none() | TEXT,
        auth_certificate_hashes=tuples(DER),
        clients=tuples(st.sampled_from(clients)),
        maintenance=st.none() | TEXT,
    )
    return SharedParameters(
        instance=instance,
        sources=draw(tuples(SOURCES, min_size=1)),
        approved_cas=draw(tuples(CA)),
        approved_tsas=draw(tuples(TSA)),
        members=members,
        security_servers=draw(tuples(server)),
        global_groups=draw(tuples(GROUP)),
        global_settings=draw(SETTINGS),
    )


@EXAMPLES
@given(shared_parameters())
def test_shared_parameters_of_the_newest_version_are_read_back_equal(
    parameters: SharedParameters,
) -> None:
    assert SharedParameters.parse(parameters.encode(6), 6) == parameters


@EXAMPLES
@given(shared_parameters(), st.integers(3, 6), st.text("aé<&>]", max_size=4))
def test_exchanging_the_sources_changes_nothing_else(
    parameters: SharedParameters, version: int, comment: str
) -> None:
    """Whatever stands around them: comments that look like sources, processing instructions."""
    source = ConfigurationSource("proxy.example", (b"KEY",), (b"KEY",))
    lure = f"<!-- <source> {comment.replace('--', '')} </source> --><?x <source/> ?>".encode()
    data = parameters.encode(version).replace(b"<globalSettings>", lure + b"<globalSettings>")
    before = SharedParameters.parse(data, version)
    after = replace_sources(data, version, [source])
    assert SharedParameters.parse(after, version) == replace(before, sources=(source,))
    assert lure in after


@EXAMPLES
@given(shared_parameters(), st.integers(2, 5))
def test_shared_parameters_of_older_versions_lose_only_what_they_cannot_say(
    parameters: SharedParameters, version: int
) -> None:
    once = SharedParameters.parse(parameters.encode(version), version)
    assert SharedParameters.parse(once.encode(version), version) == once
    assert [m.name for m in once.members] == [m.name for m in parameters.members]
    assert [s.clients for s in once.security_servers] == [
        s.clients for s in parameters.security_servers
    ]
    assert once.global_groups == parameters.global_groups


SOURCE = st.builds(Source, TEXT.map(str.strip), tuples(DER, min_size=1))
ANCHOR = st.builds(Anchor, CODE, st.none() | MOMENT, tuples(SOURCE, min_size=1))


@EXAMPLES
@given(ANCHOR)
def test_anchors_are_read_back_equal(anchor: Anchor) -> None:
    assert Anchor.parse(anchor.encode()) == anchor


@EXAMPLES
@given(
    st.builds(
        PrivateParameters,
        CODE,
        st.builds(ManagementService, TEXT, CLIENT, st.none() | DER),
        tuples(ANCHOR),
        SECONDS,
    ),
    st.integers(2, 6),
)
def test_private_parameters_of_every_version_are_read_back_equal(
    parameters: PrivateParameters, version: int
) -> None:
    assert PrivateParameters.parse(parameters.encode(version), version) == parameters


HEADER_TEXT = st.text("abcXYZ019-_./;= äß", max_size=20).map(str.strip)
DIGEST = st.sampled_from([DigestAlgorithm.SHA256, DigestAlgorithm.SHA512])
REFERENCE = st.builds(
    lambda identifier, instance, location, name, algorithm, content: PartReference(
        identifier=identifier,
        instance=instance,
        location=location,
        file_name=name,
        digest_algorithm=algorithm,
        digest=algorithm.digest(content),
    ),
    st.sampled_from(["SHARED-PARAMETERS", "PRIVATE-PARAMETERS", "FOO", ""]),
    CODE.map(str.strip).filter(lambda t: t and "'" not in t and '"' not in t),
    HEADER_TEXT.filter(bool),
    st.none() | st.just("foo.xml"),
    DIGEST,
    st.binary(max_size=20),
)


@EXAMPLES
@given(tuples(REFERENCE, max_size=5), st.integers(2, 6), MOMENT, st.sampled_from(["EC", "RSA"]))
def test_directories_are_read_back_equal(
    references: tuple[PartReference, ...], version: int, expiry: datetime, kind: str
) -> None:
    key = signing_key("properties", kind)
    directory = SignedDirectory(expiry.replace(microsecond=0), version, references)
    data = sign_directory(
        directory,
        boundaries=(boundaries()() + "x", boundaries()()),
        certificate=key.certificate,
        algorithm=key.algorithm,
        sign=key.signer().sign,
    )
    assert verify_directory(data, [key.certificate], at=expiry - timedelta(days=1)) == directory


@EXAMPLES
@given(
    st.builds(
        PartMetadata,
        content_identifier=st.none() | TEXT,
        instance=st.none() | TEXT,
        expires_at=st.none() | MOMENT.map(lambda at: at.replace(microsecond=0)),
        file_name=st.none() | TEXT,
        location=st.none() | TEXT,
        version=st.integers(2, 6),
    )
)
def test_metadata_is_read_back_equal(metadata: PartMetadata) -> None:
    assert PartMetadata.parse(metadata.encode()) == metadata


@EXAMPLES
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_an_instance_directory_is_one_visible_segment_and_read_back(instance: str) -> None:
    name = encode_directory_name(instance)
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isascii()
    assert decode_directory_name(name) == instance


LOCATION = st.builds(RememberedLocation, TEXT, st.integers(2, 6), MOMENT)
HISTORY = st.builds(History, st.none() | MOMENT, st.none() | MOMENT, st.none() | st.integers(2, 6))


@EXAMPLES
@given(st.dictionaries(CODE, st.builds(SourceState, TEXT, st.none() | LOCATION, HISTORY)))
def test_the_clients_memory_is_read_back_equal(sources: dict[str, SourceState]) -> None:
    assert ClientState.parse(ClientState(sources).encode()) == ClientState(sources)


# --- garbage ends in a documented error --------------------------------------------------------

DIRECTORY = (SIGNED / "current/V6/internalconf").read_bytes()
CERTIFICATES = (
    Anchor.parse((ANCHORS / "configuration_anchor_CS_internal.xml").read_bytes())
    .sources[0]
    .verification_certificates
)
ANCHOR_FILE = (ANCHORS / "trusted-anchor.xml").read_bytes()
SHARED_FILE = (STORED / "globalconf_good_v6/EE/shared-params.xml").read_bytes()
PRIVATE_FILE = (STORED / "globalconf_good_v6/EE/private-params.xml").read_bytes()


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The data with a piece cut out, doubled or overwritten."""
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 200)))
    return data[:start] + draw(st.binary(max_size=20) | st.just(data[start:end] * 2)) + data[end:]


@EXAMPLES
@given(damaged(DIRECTORY) | st.binary(max_size=300))
def test_a_damaged_directory_verifies_as_the_original_or_not_at_all(data: bytes) -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    try:
        read = verify_directory(data, CERTIFICATES, at=at)
    except PostroadError:
        return
    assert read == verify_directory(DIRECTORY, CERTIFICATES, at=at)


def test_a_directory_cut_anywhere_verifies_only_with_its_whole_signature() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    whole = verify_directory(DIRECTORY, CERTIFICATES, at=at)
    signature_ends = DIRECTORY.rindex(b"==") + 2
    for length in range(0, len(DIRECTORY), 3):
        try:
            read = verify_directory(DIRECTORY[:length], CERTIFICATES, at=at)
        except PostroadError:
            continue
        assert length >= signature_ends
        assert read == whole


@pytest.mark.parametrize(
    ("parse", "original"),
    [
        (Anchor.parse, ANCHOR_FILE),
        (lambda data: SharedParameters.parse(data, 6), SHARED_FILE),
        (lambda data: PrivateParameters.parse(data, 6), PRIVATE_FILE),
        (parse_directory, DIRECTORY),
        (PartMetadata.parse, b'{"expirationDate":"2124-05-20T17:42:55Z"}'),
        (ClientState.parse, ClientState({"own/EE": SourceState("x")}).encode()),
    ],
    ids=["anchor", "shared", "private", "directory", "metadata", "state"],
)
def test_damaged_documents_are_read_or_refused_with_a_documented_error(
    parse: Callable[[bytes], object], original: bytes
) -> None:
    @EXAMPLES
    @given(damaged(original) | st.binary(max_size=300))
    def check(data: bytes) -> None:
        with contextlib.suppress(PostroadError):
            parse(data)

    check()


@EXAMPLES
@given(st.lists(st.binary(max_size=30).filter(lambda b: b"--B" not in b), max_size=5))
def test_multipart_gives_back_the_bodies_that_were_joined(bodies: list[bytes]) -> None:
    document = b"".join(b"--B\r\n" + body + b"\r\n" for body in bodies) + b"--B--\r\n"
    assert split_multipart(document, b"B", max_parts=10) == bodies
