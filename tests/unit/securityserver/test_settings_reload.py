"""What changes at once, and what wants a restart."""

from __future__ import annotations

from pathlib import Path

from postroad.securityserver.settings import parse_settings
from postroad.securityserver.settings_reload import reloaded

MINIMAL = '[server]\nidentifier = "DEMO/GOV/1/SS1"\n'


def test_limits_and_timeouts_change_at_once_ports_and_other_processes_want_a_restart() -> None:
    running = parse_settings(MINIMAL, home=Path("/x"))
    read = parse_settings(
        MINIMAL
        + "workers = 3\n[client_proxy]\nhttp_port = 9\nconnections_per_address = 7\n"
        + '[server_proxy]\nconnect_timeout = 5\n[services]\ndenied_networks = ["10.0.0.0/8"]\n'
        + "[message_log]\nlog_bodies = false\nkeep_records_for = 3\n"
        + '[devices.card]\nlibrary = "/usr/lib/card.so"\n',
        home=Path("/x"),
    )
    settings, waiting = reloaded(running, read)
    assert settings.client_proxy.connections_per_address == 7
    assert settings.client_proxy.http_port == 8080
    assert settings.server_proxy.connect_timeout == 5
    assert settings.services.denied_networks == ("10.0.0.0/8",)
    assert settings.message_log.log_bodies is True
    assert settings.server.workers == 1
    assert waiting == (
        "server.workers",
        "client_proxy.http_port",
        "message_log.log_bodies",
        "message_log.keep_records_for",
        "devices.card",
    )


def test_nothing_changed_wants_nothing() -> None:
    running = parse_settings(MINIMAL, home=Path("/x"))
    assert reloaded(running, running) == (running, ())
