"""The certificate of the management ports: the old pair or the new one, wherever it is cut."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import msgspec
import pytest

from postroad.adapters.tls import load_certificate_chain
from postroad.centralserver import management_certificate
from postroad.centralserver.management_certificate import ManagementCertificate
from postroad.centralserver.management_ports import CertificateSwitch
from postroad.centralserver.registry.parameters import Parameter, store_parameter
from postroad.centralserver.registry.provider import find_management_certificate
from postroad.crypto.certificates import Certificate

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.centralserver.node import CentralServerNode

pytestmark = pytest.mark.usefixtures("token")


class Cut(BaseException):
    """The process ends here."""


def shown(node: CentralServerNode) -> bytes:
    """The certificate (DER) that a server which starts now shows, if it can start at all."""
    certificate = ManagementCertificate(node.settings, CertificateSwitch())
    with node.reading() as session:
        certificate.settle(session)
        counting = find_management_certificate(session)
    key = node.settings.management_key_path.read_bytes()
    chain = node.settings.management_certificate_path.read_bytes()
    load_certificate_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), key, chain)
    found = Certificate.from_pem_or_der(chain).der
    assert found == counting, "clients pin another one"
    assert not node.settings.management_key_path.with_suffix(".next").exists()
    return found


def replace(node: CentralServerNode) -> None:
    certificate = ManagementCertificate(node.settings, CertificateSwitch())
    with certificate.switching(node), node.changing("tester") as change:
        certificate.replace(change)


def begun(node: CentralServerNode) -> bytes:
    """The first certificate (DER) that both the files and the registry hold."""
    replace(node)
    return shown(node)


@pytest.mark.parametrize(("after", "is_new"), [(0, False), (1, True), (2, True), (3, True)])
def test_a_crash_leaves_the_old_pair_or_the_new(
    node: CentralServerNode, monkeypatch: pytest.MonkeyPatch, after: int, is_new: bool
) -> None:
    before = begun(node)
    written: list[Path] = []
    write = management_certificate.write_atomic

    def cut(path: Path, data: bytes, mode: int = 0o600) -> None:
        if len(written) == after:
            raise Cut
        written.append(path)
        write(path, data, mode)

    with monkeypatch.context() as patched:
        patched.setattr(management_certificate, "write_atomic", cut)
        if after < 3:
            with pytest.raises(Cut):
                replace(node)
        else:
            replace(node)
    assert len(written) == after
    assert (shown(node) != before) is is_new


def test_what_was_not_committed_does_not_count(node: CentralServerNode) -> None:
    before = begun(node)
    certificate = ManagementCertificate(node.settings, CertificateSwitch())
    with pytest.raises(Cut), node.changing("tester") as change:
        certificate.replace(change)
        raise Cut
    assert node.settings.management_key_path.with_suffix(".next").exists()
    assert shown(node) == before


def test_only_its_owner_reads_the_pair_that_waits(node: CentralServerNode) -> None:
    certificate = ManagementCertificate(node.settings, CertificateSwitch())
    with node.changing("tester") as change:
        certificate.replace(change)
    waiting = node.settings.management_key_path.with_suffix(".next")
    assert waiting.stat().st_mode & 0o777 == 0o600


def test_each_node_has_a_certificate_of_its_own(node: CentralServerNode) -> None:
    central = msgspec.structs.replace(node.settings.central, node_name="b")
    settings = msgspec.structs.replace(node.settings, central=central)
    with node.reading() as session:
        before = find_management_certificate(session)
    named = ManagementCertificate(settings, CertificateSwitch())
    with node.changing("tester") as change:
        store_parameter(change.session, Parameter.CENTRAL_SERVER_ADDRESS, "b.example", "b")
        named.replace(change)
    with node.reading() as session:
        assert find_management_certificate(session) == before
        assert find_management_certificate(session, "b") != before
