"""Rules of a path from a certificate to an approved authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from postroad.crypto.certificates import Certificate
from postroad.crypto.chains import (
    MAX_INTERMEDIATES,
    is_issued_by,
    verify_chain,
    verify_issued_by,
)
from postroad.crypto.names import build_name
from postroad.errors import FaultCode, TrustError

VECTORS = Path(__file__).parents[2] / "data" / "reference" / "certs" / "test_chain"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
AUTHORITY = x509.BasicConstraints(ca=True, path_length=None)


@cache
def vector(name: str) -> Certificate:
    _, certificate, _ = pkcs12.load_key_and_certificates(
        (VECTORS / f"{name}.p12").read_bytes(), b"test"
    )
    assert certificate is not None
    return Certificate.from_der(certificate.public_bytes(Encoding.DER))


class Party:
    """A key and its certificate, made by another party or by itself."""

    def __init__(
        self,
        name: str,
        issuer: Party | None = None,
        *extensions: x509.ExtensionType,
        critical: bool = False,
        begin: datetime = NOW - DAY,
        end: datetime = NOW + DAY,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = name
        signing_key = issuer.key if issuer else self.key
        named = issuer.name if issuer else name
        builder = (
            x509.CertificateBuilder()
            .subject_name(build_name([("CN", name)]))
            .issuer_name(build_name([("CN", named)]))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=critical)
        signed = builder.sign(signing_key, hashes.SHA256())
        self.certificate = Certificate.from_der(signed.public_bytes(Encoding.DER))


ROOT = Party("root", None, AUTHORITY)
MIDDLE = Party("middle", ROOT, AUTHORITY)
LEAF = Party("leaf", MIDDLE)


def refused(
    leaf: Party | Certificate, issuers: list[Party], intermediates: list[Party] | None = None
) -> str:
    certificate = leaf.certificate if isinstance(leaf, Party) else leaf
    with pytest.raises(TrustError) as caught:
        verify_chain(
            certificate,
            [issuer.certificate for issuer in issuers],
            at=NOW,
            intermediates=[helper.certificate for helper in intermediates or ()],
        )
    assert caught.value.code is FaultCode.CANNOT_CREATE_CERT_PATH
    return str(caught.value)


def test_direct_issuer_is_the_anchor_though_it_is_no_root() -> None:
    path = verify_chain(LEAF.certificate, [MIDDLE.certificate, ROOT.certificate], at=NOW)
    assert path == (LEAF.certificate, MIDDLE.certificate)


def test_path_leads_through_helpers_to_the_anchor() -> None:
    path = verify_chain(
        LEAF.certificate, [ROOT.certificate], at=NOW, intermediates=[MIDDLE.certificate]
    )
    assert path == (LEAF.certificate, MIDDLE.certificate, ROOT.certificate)


def test_refuses_without_the_intermediate() -> None:
    assert "no approved authority" in refused(LEAF, [ROOT])
    assert "no approved authority" in refused(LEAF, [])


def test_a_helper_is_never_an_anchor() -> None:
    assert "no approved authority" in refused(LEAF, [], [MIDDLE, ROOT])


def test_every_authority_of_the_same_name_is_tried() -> None:
    renewed = Party("root", None, AUTHORITY)
    leaf = Party("leaf", renewed)
    for issuers in ([ROOT, renewed], [renewed, ROOT]):
        path = verify_chain(leaf.certificate, [issuer.certificate for issuer in issuers], at=NOW)
        assert path[-1] == renewed.certificate


def test_refuses_another_authority_of_the_same_name() -> None:
    assert "not signed by" in refused(LEAF, [Party("middle", None, AUTHORITY)])


def test_refuses_an_issuer_without_basic_constraints() -> None:
    plain = Party("plain", ROOT)
    assert "not an authority" in refused(Party("leaf", plain), [plain])


def test_refuses_an_issuer_whose_key_usage_denies_it() -> None:
    bits = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    denied = Party("denied", ROOT, AUTHORITY, x509.KeyUsage(digital_signature=True, **bits))
    assert "not an authority" in refused(Party("leaf", denied), [denied])


@pytest.mark.parametrize("begin", [NOW + timedelta(hours=1), NOW - 2 * DAY])
def test_refuses_each_certificate_outside_its_validity(begin: datetime) -> None:
    end = begin + timedelta(minutes=30)
    leaf = Party("leaf", MIDDLE, begin=begin, end=end)
    assert "valid from" in refused(leaf, [MIDDLE])
    middle = Party("middle", ROOT, AUTHORITY, begin=begin, end=end)
    assert "valid from" in refused(Party("leaf", middle), [ROOT], [middle])
    root = Party("root", None, AUTHORITY, begin=begin, end=end)
    assert "valid from" in refused(Party("leaf", root), [root])


def test_validity_is_judged_at_the_moment_given() -> None:
    old = NOW - 10 * DAY
    root = Party("root", None, AUTHORITY, begin=old - DAY, end=old + DAY)
    leaf = Party("leaf", root, begin=old - DAY, end=old + DAY)
    assert verify_chain(leaf.certificate, [root.certificate], at=old)


def test_refuses_more_authorities_than_the_path_length_allows() -> None:
    root = Party("root", None, x509.BasicConstraints(ca=True, path_length=0))
    middle = Party("middle", root, AUTHORITY)
    assert verify_chain(Party("leaf", root).certificate, [root.certificate], at=NOW)
    assert "allows 0 authorities" in refused(Party("leaf", middle), [root], [middle])


def test_authorities_that_certify_each_other_end_nowhere() -> None:
    one, two = Party("one", None, AUTHORITY), Party("two", None, AUTHORITY)
    one_by_two = Party("one", two, AUTHORITY, key=one.key)
    two_by_one = Party("two", one, AUTHORITY, key=two.key)
    message = refused(Party("leaf", one), [ROOT], [one_by_two, two_by_one])
    assert "no approved authority" in message or "own path" in message


def test_self_signed_leaf_is_not_its_own_issuer() -> None:
    own = Party("own", None, AUTHORITY)
    assert "no approved authority" in refused(own, [own])


def test_refuses_a_path_longer_than_anyone_needs() -> None:
    helpers = [ROOT]
    for position in range(12):
        helpers.append(Party(f"ca {position}", helpers[-1], AUTHORITY))
    refused(Party("leaf", helpers[-1]), [ROOT], helpers[1:])


def test_refuses_more_helpers_than_anyone_needs() -> None:
    assert "intermediate" in refused(LEAF, [ROOT], [MIDDLE] * (MAX_INTERMEDIATES + 1))


def test_refuses_unknown_critical_extensions_below_the_anchor() -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    leaf = Party("leaf", MIDDLE, odd, critical=True)
    assert "1.2.3.4" in refused(leaf, [MIDDLE])
    assert verify_chain(Party("leaf", MIDDLE, odd).certificate, [MIDDLE.certificate], at=NOW)
    constrained = Party(
        "constrained",
        ROOT,
        AUTHORITY,
        x509.NameConstraints([x509.DNSName("example.org")], None),
        critical=True,
    )
    under = Party("leaf", constrained)
    assert "critical" in refused(under, [ROOT], [constrained])
    assert verify_chain(under.certificate, [constrained.certificate], at=NOW)


def test_refuses_a_leaf_with_a_small_or_foreign_key() -> None:
    small = Party("leaf", MIDDLE, key=rsa.generate_private_key(65537, 1024))
    assert "1024 bits" in refused(small, [MIDDLE])
    foreign = Party("leaf", MIDDLE, key=ec.generate_private_key(ec.SECP256K1()))
    assert "secp256k1" in refused(foreign, [MIDDLE])


def test_sha_1_signature_is_accepted_as_old_evidence_only() -> None:
    root, leaf = vector("root_ca"), vector("user_0")
    at = leaf.not_before + DAY
    assert verify_chain(leaf, [root], at=at, allow_legacy=True) == (leaf, root)
    with pytest.raises(TrustError, match="not accepted any more"):
        verify_chain(leaf, [root], at=at)


def test_reference_chain_of_three_intermediates_holds() -> None:
    helpers = [vector("ca_1"), vector("ca_2"), vector("ca_3")]
    root, leaf = vector("root_ca"), vector("user_3")
    at = root.not_before + DAY + timedelta(days=2)
    path = verify_chain(leaf, [root], at=at, intermediates=helpers, allow_legacy=True)
    assert path == (leaf, *reversed(helpers), root)


def test_reference_chain_with_a_missing_intermediate_is_refused() -> None:
    helpers = [vector("ca_1"), vector("ca_3")]
    with pytest.raises(TrustError) as caught:
        verify_chain(
            vector("user_3"),
            [vector("root_ca")],
            at=vector("user_3").not_before + DAY,
            intermediates=helpers,
            allow_legacy=True,
        )
    assert caught.value.code is FaultCode.CANNOT_CREATE_CERT_PATH


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("user_invalid_sig", "no approved authority"),
        ("user_3_md5", "unknown signature algorithm"),
        ("user_4", "not an authority"),
    ],
)
def test_bad_reference_chains_are_refused_even_as_old_evidence(name: str, reason: str) -> None:
    leaf = vector(name)
    helpers = [vector("ca_1"), vector("ca_2"), vector("ca_3"), vector("ca_4_no_ext")]
    with pytest.raises(TrustError, match=reason) as caught:
        verify_chain(
            leaf,
            [vector("root_ca")],
            at=leaf.not_before + DAY,
            intermediates=helpers,
            allow_legacy=True,
        )
    assert caught.value.code is FaultCode.CANNOT_CREATE_CERT_PATH


def test_pss_signed_certificate_verifies() -> None:
    root_key = rsa.generate_private_key(65537, 2048)
    name = build_name([("CN", "pss root")])
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)

    def certificate(subject: x509.Name, *, ca: bool) -> Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name)
        builder = builder.public_key(root_key.public_key()).serial_number(7)
        builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
        if ca:
            builder = builder.add_extension(AUTHORITY, critical=True)
        signed = builder.sign(root_key, hashes.SHA256(), rsa_padding=scheme)
        return Certificate.from_der(signed.public_bytes(Encoding.DER))

    root = certificate(name, ca=True)
    leaf = certificate(build_name([("CN", "leaf")]), ca=False)
    assert verify_chain(leaf, [root], at=NOW) == (leaf, root)


def test_issuing_is_told_and_explained() -> None:
    assert is_issued_by(LEAF.certificate, MIDDLE.certificate)
    assert not is_issued_by(LEAF.certificate, ROOT.certificate)
    verify_issued_by(LEAF.certificate, MIDDLE.certificate)
    with pytest.raises(TrustError, match="is not issued by CN=root"):
        verify_issued_by(LEAF.certificate, ROOT.certificate)
