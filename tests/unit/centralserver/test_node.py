"""How a node is opened and an instance is made out of nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from postroad.adapters.database import transaction
from postroad.adapters.system_clock import SystemClock
from postroad.centralserver.node import NewInstance, initialize_node, open_node
from postroad.centralserver.registry.change import list_change_log
from postroad.centralserver.registry.provider import find_management_certificate
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.sources import list_signing_keys
from postroad.centralserver.settings import parse_settings
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode
from support.central_server import PIN, MovingClock, fill, plain_node

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.centralserver.node import CentralServerNode

NEW = NewInstance(instance="DEV", address="cs.example", pin=PIN, algorithm=KeyAlgorithm.EC)


def test_an_instance_is_made_out_of_nothing_once(node: CentralServerNode) -> None:
    for _ in range(2):
        token = initialize_node(node, NEW, "tester")
    with node.reading() as session:
        keys = [(key.source.source_type, key.is_active) for key in list_signing_keys(session)]
        certificate = find_management_certificate(session)
        entries = len(list_change_log(session))
    assert keys == [("internal", True), ("external", True)]
    stored = node.settings.management_certificate_path.read_bytes()
    assert certificate == Certificate.from_pem_or_der(stored).der
    assert entries == 6
    with node.changing("tester") as change:
        fill(change)
    assert node.generate(token).directories


def test_another_instance_or_pin_is_refused(node: CentralServerNode) -> None:
    initialize_node(node, NEW, "tester")
    other = NewInstance(instance="EE", address="cs.example", pin=PIN)
    with pytest.raises(RegistryRefusal) as refused:
        initialize_node(node, other, "tester")
    assert refused.value.problem is Problem.ALREADY_INITIALIZED
    wrong = NewInstance(instance="DEV", address="cs.example", pin="another")
    with pytest.raises(ConfigurationError) as wrong_pin:
        initialize_node(node, wrong, "tester")
    assert wrong_pin.value.code is FaultCode.PIN_INCORRECT


def test_the_pin_is_not_shown() -> None:
    assert PIN not in repr(NEW)


def test_https_brings_a_certificate(tmp_path: Path) -> None:
    settings = parse_settings("", home=tmp_path)
    node = open_node(tmp_path, clock=MovingClock(), settings=settings)
    initialize_node(node, NEW, "tester")
    assert settings.tls_certificate_path.exists()
    assert settings.tls_key_path.exists()
    node.close()


def test_a_node_reads_its_settings_and_the_real_clock(tmp_path: Path) -> None:
    (tmp_path / "central.toml").write_text('[central]\nnode_name = "node_1"\n')
    node = open_node(tmp_path)
    assert node.settings.central.node_name == "node_1"
    assert isinstance(node.clock, SystemClock)
    node.close()


def test_strictness_is_a_setting(tmp_path: Path) -> None:
    text_ = "[central]\nstrict_identifier_checks = false\n"
    node = open_node(tmp_path, settings=parse_settings(text_, home=tmp_path))
    with node.changing("tester") as change:
        assert not change.strict_identifiers
    node.close()


def test_a_database_of_a_newer_version_is_not_opened(
    tmp_path: Path, node: CentralServerNode, clock: MovingClock
) -> None:
    with transaction(node.engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer version"):
        plain_node(tmp_path, clock)
