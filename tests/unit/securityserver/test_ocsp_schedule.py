"""When OCSP responses are fetched anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.clock import FixedClock
from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import CertificateStatus, build_request
from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.view import GlobalConfiguration
from postroad.ports import KeyCertificate
from postroad.securityserver.globalconf_files import CurrentConfiguration
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.ocsp_fetching import OcspClient
from postroad.securityserver.ocsp_schedule import OcspJob
from postroad.trustlab.authority import TrustLab
from support.trust import (
    CA_URL,
    NOW,
    OWNER,
    ROOT_URL,
    Ecosystem,
    Responders,
    SignerDouble,
    key_certificate,
)


class Configuration(CurrentConfiguration):
    """A configuration that is just there, or not."""

    def __init__(self, globalconf: GlobalConfiguration | None) -> None:
        self.globalconf = globalconf

    async def get(self) -> GlobalConfiguration:
        if self.globalconf is None:
            raise ConfigurationError("none", code=FaultCode.GLOBAL_CONF_OUTDATED)
        return self.globalconf


class Server:
    """An OCSP job with everything around it, and a hand on its clock."""

    def __init__(self, directory: Path) -> None:
        self.ecosystem = Ecosystem()
        self.responders = Responders(self.ecosystem.lab)
        self.signer = SignerDouble(self.new_key())
        self.configuration = Configuration(self.ecosystem.globalconf())
        self.now = 0.0
        self.job = OcspJob(
            certificates=self.signer.certificates,
            configuration=self.configuration,
            client=OcspClient(directory, self.responders, FixedClock(NOW)),
            clock=FixedClock(NOW),
            minimum_interval=60.0,
            monotonic=lambda: self.now,
        )

    def new_key(self, *, active: bool = True) -> KeyCertificate:
        certificate = self.ecosystem.lab.sign_certificate(OWNER).certificate
        return key_certificate(certificate.der, active=active)

    def run(self) -> Outcome:
        return asyncio.run(self.job.run())

    def asked(self) -> list[str]:
        asked, self.responders.asked = sorted(self.responders.asked), []
        return asked


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_fetches_at_once_and_then_at_the_interval(server: Server) -> None:
    assert server.run().error is None
    assert server.asked() == [CA_URL, ROOT_URL]
    server.now = 1199.0
    assert server.run().silent
    assert server.asked() == []
    server.now = 1200.0
    assert not server.run().silent
    assert server.asked() == [CA_URL, ROOT_URL]


@pytest.mark.parametrize("status", [CertificateStatus.UNKNOWN, CertificateStatus.REVOKED])
def test_not_good_answer_is_asked_for_again_after_a_minute(
    server: Server, status: CertificateStatus
) -> None:
    lab = server.ecosystem.lab
    subject = Certificate.from_der(server.signer.keys[0].der)
    request = build_request(subject, lab.ca_certificate)
    server.responders.replaced[CA_URL] = lab.answer_ocsp(request, at=NOW, force=status)
    server.run()
    server.asked()
    server.now = 59.0
    assert server.run().silent
    server.now = 60.0
    server.run()
    assert server.asked() == [CA_URL]


def test_new_certificate_is_asked_about_at_once(server: Server) -> None:
    server.run()
    server.asked()
    server.signer.keys.append(server.new_key())
    server.run()
    assert server.asked() == [CA_URL]


def test_inactive_certificate_is_not_asked_about(server: Server) -> None:
    server.signer.keys = [server.new_key(active=False)]
    assert server.run().silent
    assert server.asked() == []


def test_failure_is_retried_after_a_minute_and_told(server: Server) -> None:
    server.responders.broken.add(CA_URL)
    outcome = server.run()
    assert outcome.error is not None
    assert len(outcome.facts["certificates"]) == 2  # it is a list
    assert server.asked() == [CA_URL, ROOT_URL]
    server.now = 59.0
    assert server.run().error is not None
    assert server.asked() == []
    server.now = 60.0
    server.responders.broken.clear()
    assert server.run().error is None
    assert server.asked() == [CA_URL]


def test_certificate_that_nobody_approved_does_not_stop_the_others(server: Server) -> None:
    foreign = TrustLab.create(at=NOW).sign_certificate(OWNER).certificate
    server.signer.keys.insert(0, key_certificate(foreign.der))
    outcome = server.run()
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.CANNOT_CREATE_CERT_PATH
    assert server.asked() == [CA_URL, ROOT_URL]


def test_without_valid_configuration_nothing_is_asked(server: Server) -> None:
    globalconf, server.configuration.globalconf = server.configuration.globalconf, None
    outcome = server.run()
    assert outcome.error is not None
    assert server.asked() == []
    server.configuration.globalconf = globalconf
    assert server.run().error is None


def test_removed_certificate_is_forgotten(server: Server) -> None:
    server.responders.broken.add(CA_URL)
    assert server.run().error is not None
    server.signer.keys.clear()
    outcome = server.run()
    assert outcome.error is None
    assert outcome.facts["certificates"] == []
