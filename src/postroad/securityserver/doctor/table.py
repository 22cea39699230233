"""Which checks does the doctor make?

The order is that of the report, and of causes before effects: a check stands after those it needs.
"""

from __future__ import annotations

from typing import Final

from postroad.securityserver.doctor import (
    anchor,
    certificates,
    clocks,
    configuration,
    database,
    disk,
    expiry,
    files,
    message_log,
    ocsp,
    own_ports,
    peers,
    ports,
    processes,
    registration,
    server,
    services,
    timestamping,
    token,
)
from postroad.securityserver.doctor.examination import Check

_TRUST: Final = (expiry.NAME,)

CHECKS: Final = (
    Check(files.NAME, files.examine),
    Check(disk.NAME, disk.examine),
    Check(server.NAME, server.examine),
    Check(ports.NAME, ports.examine),
    Check(processes.NAME, processes.examine, needs=(server.NAME,)),
    Check(database.NAME, database.examine),
    Check(anchor.NAME, anchor.examine),
    Check(configuration.NAME, configuration.examine, needs=(anchor.NAME,)),
    Check(expiry.NAME, expiry.examine),
    Check(clocks.NAME, clocks.examine),
    Check(token.NAME, token.examine, needs=(server.NAME,)),
    Check(
        certificates.AUTHENTICATION,
        certificates.examine_authentication,
        needs=(token.NAME, *_TRUST),
    ),
    Check(certificates.SIGNING, certificates.examine_signing, needs=(token.NAME, *_TRUST)),
    Check(ocsp.NAME, ocsp.examine, needs=(token.NAME, *_TRUST)),
    Check(timestamping.NAME, timestamping.examine, needs=_TRUST),
    Check(message_log.NAME, message_log.examine, needs=(server.NAME,)),
    Check(registration.NAME, registration.examine, needs=_TRUST),
    Check(
        own_ports.SERVER_PORT,
        own_ports.examine_server_port,
        needs=(registration.NAME, certificates.AUTHENTICATION, ports.NAME),
    ),
    Check(
        own_ports.OCSP_PORT,
        own_ports.examine_ocsp_port,
        needs=(registration.NAME, certificates.AUTHENTICATION, ports.NAME),
    ),
    Check(peers.NAME, peers.examine, needs=(certificates.AUTHENTICATION,)),
    Check(services.NAME, services.examine),
)
