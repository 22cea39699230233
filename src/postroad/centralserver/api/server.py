"""Where does the management interface listen, and with which TLS?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.adapters.audit_log import AuditLog
from postroad.adapters.tls import management_api_context
from postroad.centralserver.api.application import api_application
from postroad.centralserver.api.operations import Services
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

    from starlette.applications import Starlette

    from postroad.centralserver.management_ports import CertificateSwitch
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.token_login import TokenLogin


def opened_api(
    node: CentralServerNode, login: TokenLogin, certificates: CertificateSwitch
) -> tuple[Starlette, ssl.SSLContext]:
    """The application and the TLS context of its port.

    Raises ``ConfigurationError`` when the audit log can't be written or there is no certificate.
    """
    settings = node.settings
    audit = AuditLog(settings.audit_log_path, "central")
    audit.ensure_writable()
    try:
        key = settings.api_key_path.read_bytes()
        chain = settings.api_certificate_path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the certificate of the management interface can't be read: {error}"
        ) from error
    context = management_api_context(key, chain)
    return api_application(Services(node, login, certificates), audit), context
