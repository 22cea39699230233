"""Which values the system parameters have and can have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.registry.parameters import (
    DEFAULTS,
    Parameter,
    find_parameter,
    list_parameters,
    number_parameter,
    own_instance,
    parse_parameter,
    set_parameter,
)
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.system import initialize

if TYPE_CHECKING:
    from support.central_server import Registry


def test_defaults_are_those_of_the_reference() -> None:
    assert {key.value: value for key, value in DEFAULTS.items()} == {
        "authCertRegUrl": "https://%{centralServerAddress}:4001/managementservice/",
        "confSignDigestAlgoId": "SHA-512",
        "confHashAlgoUri": "http://www.w3.org/2001/04/xmlenc#sha512",
        "confSignCertHashAlgoUri": "http://www.w3.org/2001/04/xmlenc#sha512",
        "confExpireIntervalSeconds": "600",
        "securityServerOwnersGroup": "security-server-owners",
        "ocspFreshnessSeconds": "3600",
        "timeStampingIntervalSeconds": "60",
    }


def test_a_default_holds_until_a_value_is_set(registry: Registry) -> None:
    with registry.changing() as change:
        assert number_parameter(change.session, Parameter.OCSP_FRESHNESS) == 3600
        assert set_parameter(change, Parameter.OCSP_FRESHNESS, " 0600 ")
        assert not set_parameter(change, Parameter.OCSP_FRESHNESS, "600")
        assert number_parameter(change.session, Parameter.OCSP_FRESHNESS) == 600
        listed = {value.key: value for value in list_parameters(change.session)}
    assert not listed[Parameter.OCSP_FRESHNESS].is_default
    assert listed[Parameter.EXPIRE_INTERVAL].is_default
    assert Parameter.PROVIDER_CODE not in listed


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        (Parameter.SIGN_DIGEST, "sha-256", "SHA-256"),
        (Parameter.PART_DIGEST_URI, "http://www.w3.org/2001/04/xmlenc#sha256", None),
        (Parameter.CERTIFICATE_DIGEST_URI, "http://www.w3.org/2001/04/xmldsig-more#sha384", None),
        (Parameter.EXPIRE_INTERVAL, "120", None),
        (Parameter.TIMESTAMPING_INTERVAL, "86400", None),
        (Parameter.AUTH_CERT_REG_URL, "https://%{centralServerAddress}:4002/x", None),
        (Parameter.CENTRAL_SERVER_ADDRESS, "other.example:8080", None),
    ],
)
def test_a_usable_value_is_stored(
    registry: Registry, key: Parameter, value: str, stored: str | None
) -> None:
    with registry.changing() as change:
        assert set_parameter(change, key, value)
        assert find_parameter(change.session, key) == (stored or value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (Parameter.SIGN_DIGEST, "SHA-1"),
        (Parameter.SIGN_DIGEST, "MD5"),
        (Parameter.SIGN_DIGEST, "http://www.w3.org/2001/04/xmlenc#sha256"),
        (Parameter.PART_DIGEST_URI, "http://www.w3.org/2000/09/xmldsig#sha1"),
        (Parameter.CERTIFICATE_DIGEST_URI, "SHA-512"),
        (Parameter.EXPIRE_INTERVAL, "119"),
        (Parameter.OCSP_FRESHNESS, "-60"),
        (Parameter.OCSP_FRESHNESS, "59"),
        (Parameter.OCSP_FRESHNESS, "86401"),
        (Parameter.OCSP_FRESHNESS, "9" * 400),
        (Parameter.OCSP_FRESHNESS, "sixty"),
        (Parameter.OCSP_FRESHNESS, "६०"),
        (Parameter.AUTH_CERT_REG_URL, ""),
        (Parameter.CENTRAL_SERVER_ADDRESS, "http://x"),
    ],
)
def test_a_value_that_would_stop_the_generation_is_refused(
    registry: Registry, key: Parameter, value: str
) -> None:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        set_parameter(change, key, value)
    assert refused.value.problem is Problem.INVALID_VALUE


@pytest.mark.parametrize(
    "key",
    [
        Parameter.INSTANCE_IDENTIFIER,
        Parameter.OWNERS_GROUP,
        Parameter.PROVIDER_CLASS,
        Parameter.PROVIDER_CODE,
        Parameter.PROVIDER_SUBSYSTEM,
    ],
)
def test_some_parameters_cannot_be_set_alone(registry: Registry, key: Parameter) -> None:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        set_parameter(change, key, "x")
    assert refused.value.problem is Problem.PARAMETER_IS_FIXED


def test_each_node_has_its_own_address(registry: Registry) -> None:
    with registry.changing() as change:
        initialize(change, "DEV", "node1.example", "node_1")
        session, key = change.session, Parameter.CENTRAL_SERVER_ADDRESS
        assert find_parameter(session, key) == "cs.example"
        assert find_parameter(session, key, "node_1") == "node1.example"
        assert find_parameter(session, key, "node_2") is None
        assert find_parameter(session, Parameter.INSTANCE_IDENTIFIER, "node_2") == "DEV"


def test_a_parameter_is_found_by_its_name() -> None:
    assert parse_parameter("ocspFreshnessSeconds") is Parameter.OCSP_FRESHNESS
    with pytest.raises(RegistryRefusal, match="ocspFreshnessSeconds"):
        parse_parameter("ocspfreshnessseconds")


def test_the_instance_is_known_after_initialisation(registry: Registry) -> None:
    with registry.reading() as session:
        assert own_instance(session) == "DEV"
