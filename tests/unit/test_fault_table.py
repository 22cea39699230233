from __future__ import annotations

import pytest

from postroad.errors import FaultCode
from postroad.fault_table import EXPLANATIONS, Dialect, Side, explain, spell, to_snake


@pytest.mark.parametrize("code", list(FaultCode))
def test_every_code_is_explained_and_spelled_both_ways(code: FaultCode) -> None:
    row = EXPLANATIONS[code.value]
    assert row.meaning
    assert row.next_step
    assert to_snake(row.legacy) == code.value
    assert spell(code.value, Dialect.CAMEL) == row.legacy or "." in code.value


def test_no_two_codes_share_an_older_spelling() -> None:
    legacy = [row.legacy for row in EXPLANATIONS.values()]
    assert len(legacy) == len(set(legacy))


@pytest.mark.parametrize(
    ("snake", "camel"),
    [
        ("server.serverproxy.access_denied", "Server.ServerProxy.AccessDenied"),
        ("server.clientproxy.global_conf_outdated", "Server.ClientProxy.OutdatedGlobalConf"),
        ("client.invalid_http_method", "Client.InvalidHttpMethod"),
        (
            "server.serverproxy.signature_verification.malformed_signature.hashchain_unused_inputs",
            "Server.ServerProxy.SignatureVerification.MalformedSignature.HashChainUnusedInputs",
        ),
        ("server.serverproxy.io_error", "Server.ServerProxy.IOError"),
    ],
)
def test_spellings_of_the_field(snake: str, camel: str) -> None:
    assert spell(snake, Dialect.CAMEL) == camel
    assert to_snake(camel) == snake
    assert to_snake(snake) == snake


def test_explains_prefixes_and_who_must_act() -> None:
    fault = explain("Server.ServerProxy.ServiceFailed.UnknownHost")
    assert fault.code == "server.serverproxy.service_failed.unknown_host"
    assert fault.where[0].startswith("The provider's Security Server")
    assert fault.explanation is not None
    assert fault.explanation.side is Side.REPORTER


def test_explains_two_part_codes() -> None:
    fault = explain("server.clientproxy.logging_failed.mlog.no_timestamping_provider_found")
    assert fault.explanation is not None
    assert fault.explanation.code == "mlog.no_timestamping_provider_found"


def test_says_when_a_code_is_nobodys() -> None:
    assert explain("soapenv:Server.whatever").explanation is None
    assert explain("").explanation is None
