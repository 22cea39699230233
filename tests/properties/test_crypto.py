"""Properties: untrusted bytes are read or refused by a family of ours; codecs round-trip."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.crypto.algorithms import DigestAlgorithm, ecdsa_der_to_raw, ecdsa_raw_to_der
from postroad.crypto.certificates import Certificate
from postroad.crypto.chains import verify_chain
from postroad.crypto.names import build_name, name_text
from postroad.crypto.ocsp import OcspPolicy, OcspResponse, require_good, verify_ocsp
from postroad.crypto.timestamps import parse_response, verify_token, with_certificate
from postroad.errors import PostroadError
from postroad.identifiers import MemberId
from postroad.trustlab import responders
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.issuing import read_request

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAB = TrustLab.create(at=NOW)
SUBJECT = LAB.sign_certificate(MemberId("DEV", "GOV", "1")).certificate
OCSP = LAB.ocsp(SUBJECT)
DATA = b"data"
SHA512 = DigestAlgorithm.SHA512
TOKEN = with_certificate(LAB.timestamp(DATA), LAB.tsa_certificate)
MANY = settings(max_examples=100, deadline=None)


@st.composite
def spoiled(draw: st.DrawFn, good: bytes) -> bytes:
    """The bytes with a few of them changed, some cut out, or some put in."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["change", "cut", "insert"])):
            case "change" if data:
                data[position] = draw(st.integers(0, 255))
            case "cut":
                del data[position : position + draw(st.integers(1, 8))]
            case _:
                data[position:position] = draw(st.binary(min_size=1, max_size=8))
    return bytes(data)


@MANY
@given(spoiled(SUBJECT.der))
def test_spoiled_certificate_is_refused_or_leads_nowhere(der: bytes) -> None:
    with suppress(PostroadError):
        certificate = Certificate.from_pem_or_der(der)
        verify_chain(certificate, LAB.ca_certificates, at=NOW)
        # What still verifies is the same certificate: only its outer algorithm field is unsigned.
        assert certificate.x509.tbs_certificate_bytes == SUBJECT.x509.tbs_certificate_bytes


@MANY
@given(spoiled(OCSP))
def test_spoiled_ocsp_response_is_refused_or_says_the_same(der: bytes) -> None:
    with suppress(PostroadError):
        response = OcspResponse.parse(der)
        verified = verify_ocsp(response, SUBJECT, LAB.ca_certificate, at=NOW, policy=OcspPolicy())
        require_good(verified)
        assert verified.this_update == NOW


@MANY
@given(spoiled(TOKEN))
def test_spoiled_token_is_refused_or_says_the_same(token: bytes) -> None:
    with suppress(PostroadError):
        assert verify_token(token, DATA, [LAB.tsa_certificate]).gen_time == NOW
    with suppress(PostroadError):
        with_certificate(token, LAB.ca_certificate)


@MANY
@given(spoiled(LAB.answer_timestamp(b"", at=NOW)) | st.binary(max_size=80))
def test_spoiled_time_stamp_response_is_refused(der: bytes) -> None:
    with suppress(PostroadError):
        parse_response(der, imprint=SHA512.digest(DATA), algorithm=SHA512)
        raise AssertionError("a refusal was taken for a token")


@MANY
@given(st.binary(max_size=200))
def test_noise_is_refused_everywhere(data: bytes) -> None:
    for read in (
        Certificate.from_pem_or_der,
        OcspResponse.parse,
        read_request,
        responders.read_ocsp_request,
    ):
        with suppress(PostroadError):
            read(data)
    with suppress(PostroadError):
        verify_token(data, DATA, [LAB.tsa_certificate])
    assert LAB.answer_ocsp(data, at=NOW)
    assert LAB.answer_timestamp(data, at=NOW)


@MANY
@given(st.integers(1, 2**256 - 1), st.integers(1, 2**256 - 1), st.integers(32, 66))
def test_ecdsa_forms_round_trip(r: int, s: int, size: int) -> None:
    raw = r.to_bytes(size, "big") + s.to_bytes(size, "big")
    assert ecdsa_der_to_raw(ecdsa_raw_to_der(raw), size) == raw


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=15)


@MANY
@given(st.lists(st.tuples(st.sampled_from(["O", "OU", "CN"]), VALUES), min_size=1, max_size=6))
def test_quoted_names_read_back_to_the_same_name(fields: list[tuple[str, str]]) -> None:
    from asn1crypto.x509 import Name
    from cryptography.x509 import Name as LibraryName

    try:
        name = build_name(fields)
    except PostroadError:
        return  # a blank value
    der = name.public_bytes()
    quoted = name_text(Name.load(der))
    parsed = LibraryName.from_rfc4514_string(quoted)
    assert [attribute.value for attribute in parsed] == [attribute.value for attribute in name]
