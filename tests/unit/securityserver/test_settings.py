from __future__ import annotations

from pathlib import Path

import pytest

from postroad.errors import ConfigurationError
from postroad.identifiers import SecurityServerId
from postroad.securityserver.settings import load_settings, parse_settings, rewrite_identifier

MINIMAL = '[server]\nidentifier = "DEMO/GOV/1/SS1"\n'


def test_minimal_file_has_the_ecosystems_ports() -> None:
    settings = parse_settings(MINIMAL, home=Path("/srv/x"))
    assert settings.server_id == SecurityServerId("DEMO", "GOV", "1", "SS1")
    assert (settings.client_proxy.http_port, settings.server_proxy.port) == (8080, 5500)
    assert settings.signer_socket == Path("/srv/x/run/signer.sock")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[server]\n", "identifier"),
        ('[server]\nidentifier = "A/B"\n', "expected 4 parts"),
        (MINIMAL + "colour = 1\n", "colour"),
        (MINIMAL + "workers = 0\n", "workers"),
        (MINIMAL + '[client_proxy]\nhttp_port = "80"\n', "http_port"),
        (MINIMAL + "[client_proxy]\nhttp_port = 70000\n", "http_port"),
        (MINIMAL + '[message_log]\noversized_bodies = "truncate"\n', "oversized_bodies"),
        (
            MINIMAL
            + "[message_log]\n"
            + 'enabled_body_logging_local_producer_subsystems = ["DEMO/GOV/1/register"]\n',
            "has no meaning: log_bodies = true",
        ),
        (
            MINIMAL
            + "[message_log]\nlog_bodies = false\n"
            + 'disabled_body_logging_remote_producer_subsystems = ["DEMO/GOV/1/register"]\n',
            "has no meaning: log_bodies = false",
        ),
        (
            MINIMAL
            + "[message_log]\n"
            + 'disabled_body_logging_local_producer_subsystems = ["DEMO/GOV/1"]\n',
            "expected 4 parts",
        ),
        ('home = "/"\n' + MINIMAL, "home"),
        ("[server\n", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_name_of_the_key(text: str, names: str) -> None:
    with pytest.raises(Exception, match=names):
        parse_settings(text, home=Path("/srv/x"))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="postroad server init"):
        load_settings(tmp_path)


def test_the_health_check_is_never_on_a_message_port() -> None:
    for port in (8080, 8443, 5500, 5577):
        with pytest.raises(ConfigurationError, match="message port"):
            parse_settings(
                f'[server]\nidentifier="A/B/C/D"\n[monitoring]\nhealth_check_port={port}',
                home=Path("/x"),
            )


def test_figures_need_a_port() -> None:
    with pytest.raises(ConfigurationError, match="health_check_port"):
        parse_settings(
            '[server]\nidentifier="A/B/C/D"\n[monitoring]\nmetrics=true', home=Path("/x")
        )


def test_an_identifier_that_was_rewritten_before_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    before, after = (SecurityServerId("DEMO", "GOV", code, "SS1") for code in ("1", "2"))
    path = tmp_path / "server.toml"
    path.write_text(MINIMAL)
    for _ in range(2):  # the database may not have learnt of the first time
        rewrite_identifier(tmp_path, before, after)
        assert load_settings(tmp_path).server_id == after
    path.write_text(MINIMAL.replace("/1/", "/3/"))
    with pytest.raises(ConfigurationError, match="another owner"):
        rewrite_identifier(tmp_path, before, after)
