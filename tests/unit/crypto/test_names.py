"""Rules of comparing, quoting and building names."""

from __future__ import annotations

import asn1crypto.x509
import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type

from postroad.crypto.names import build_name, name_key, name_text, name_values
from postroad.errors import ConfigurationError, FaultCode


def parsed(name: x509.Name) -> asn1crypto.x509.Name:
    return asn1crypto.x509.Name.load(name.public_bytes())


def test_names_are_equal_whatever_their_case_spacing_and_string_type() -> None:
    cn = x509.ObjectIdentifier("2.5.4.3")
    one = x509.Name([x509.NameAttribute(cn, "Some  Authority ", _ASN1Type.UTF8String)])
    two = x509.Name([x509.NameAttribute(cn, "some authority", _ASN1Type.PrintableString)])
    assert one.public_bytes() != two.public_bytes()
    assert name_key(parsed(one)) == name_key(parsed(two))


def test_names_differ_by_value_type_and_order() -> None:
    names = [
        build_name([("CN", "a"), ("O", "b")]),
        build_name([("O", "b"), ("CN", "a")]),
        build_name([("CN", "a"), ("OU", "b")]),
        build_name([("CN", "a")]),
    ]
    assert len({name_key(parsed(name)) for name in names}) == len(names)


def test_quotes_a_name_as_rfc_2253_last_part_first() -> None:
    name = build_name([("C", "EE"), ("O", "Smith, Sons"), ("serialNumber", "1"), ("CN", "#x ")])
    assert name_text(parsed(name)) == r"CN=\#x\ ,2.5.4.5=#130131,O=Smith\, Sons,C=EE"


def test_quotes_parts_of_several_attributes_with_a_plus() -> None:
    rdn = x509.RelativeDistinguishedName(list(build_name([("CN", "a"), ("OU", "b")])))
    assert name_text(parsed(x509.Name([rdn]))) in ("CN=a+OU=b", "OU=b+CN=a")


def test_finds_every_value_of_a_type() -> None:
    name = parsed(build_name([("OU", "one"), ("CN", "x"), ("OU", "two")]))
    assert name_values(name, "2.5.4.11") == ("one", "two")
    assert name_values(name, "2.5.4.10") == ()


def test_country_may_hold_an_instance_name() -> None:
    name = build_name([("C", "DEVELOPMENT"), ("1.2.3.4", "odd")])
    assert name_values(parsed(name), "2.5.4.6") == ("DEVELOPMENT",)
    assert name_values(parsed(name), "1.2.3.4") == ("odd",)


@pytest.mark.parametrize(
    "fields", [[], [("CN", " ")], [("nosuch", "x")], [("CN", "x")] * 31], ids=repr
)
def test_refuses_names_that_cannot_be_made(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_name(fields)
    assert caught.value.code is FaultCode.CSR_FAILED


def test_name_key_takes_values_that_are_not_text() -> None:
    unique = x509.NameAttribute(x509.ObjectIdentifier("2.5.4.45"), b"\x01\x02", _ASN1Type.BitString)
    other = x509.NameAttribute(x509.ObjectIdentifier("2.5.4.45"), b"\x01\x03", _ASN1Type.BitString)
    assert name_key(parsed(x509.Name([unique]))) != name_key(parsed(x509.Name([other])))


def test_serial_number_is_a_printable_string_where_its_letters_allow() -> None:
    plain = parsed(build_name([("serialNumber", "DEV/ss1/GOV"), ("C", "FI")]))
    other = parsed(build_name([("serialNumber", "DEV/ss_1/GOV"), ("C", "ÖÜ")]))
    kinds = [
        [type(pair["value"].chosen).__name__ for rdn in name.chosen for pair in rdn]
        for name in (plain, other)
    ]
    assert kinds == [["PrintableString"] * 2, ["UTF8String"] * 2]
    assert name_values(other, "2.5.4.5") == ("DEV/ss_1/GOV",)
    assert name_values(other, "2.5.4.6") == ("ÖÜ",)
