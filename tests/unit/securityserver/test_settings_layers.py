"""Settings come from four places, the later one wins, and a wrong one is told so that it can be put
right."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.settings import Settings, parse_settings
from postroad.securityserver.settings_layers import layers_of, origin_of
from postroad.securityserver.settings_profiles import PROFILES

MINIMAL = '[server]\nidentifier = "DEMO/GOV/1/SS1"\n'
HOME = Path("/srv/x")


def settings(text: str = "", profile: str = "", **environ: str) -> Settings:
    head = f'profile = "{profile}"\n' if profile else ""
    return parse_settings(head + MINIMAL + text, home=HOME, environ=environ)


def test_the_environment_wins_over_the_file_and_the_file_over_the_profile() -> None:
    text = "[client_proxy]\nhttp_port = 1080\n"
    assert settings(profile="ee").client_proxy.http_port == 80
    assert settings(text, profile="ee").client_proxy.http_port == 1080
    made = settings(text, profile="ee", POSTROAD_CLIENT_PROXY__HTTP_PORT="2080")
    assert (made.client_proxy.http_port, made.client_proxy.https_port) == (2080, 443)
    assert settings(POSTROAD_PROFILE="fi").message_log.log_bodies is False


def test_the_origin_of_each_setting_is_known() -> None:
    layers = layers_of(
        'profile = "ee"\n[client_proxy]\nhttp_port = 1080\n',
        Settings,
        source="server.toml",
        environ={"POSTROAD_SERVER__WORKERS": "3"},
    )
    origins = {
        path: origin_of(path.split("."), layers)
        for path in (
            "client_proxy.http_port",
            "client_proxy.https_port",
            "server.workers",
            "server_proxy.port",
        )
    }
    assert list(origins.values()) == ["server.toml", "profile ee", "environment", "default"]


@pytest.mark.parametrize(
    ("profile", "values"),
    [
        ("", ("127.0.0.1", 8080, "", True, 14400, False, "RSA-2048", 10 << 20, False)),
        ("vanilla", ("0.0.0.0", 8080, "", True, 14400, False, "RSA-2048", 10 << 20, True)),
        ("ee", ("127.0.0.1", 80, "7.6.0", True, 14400, True, "RSA-3072", 20 << 20, True)),
        ("fi", ("0.0.0.0", 8080, "7.6.0", False, 172800, True, "RSA-3072", 10 << 20, False)),
    ],
)
def test_national_profiles_are_those_of_the_references_packages(
    profile: str, values: tuple[object, ...]
) -> None:
    made = settings(profile=profile)
    assert (
        made.client_proxy.host,
        made.client_proxy.http_port,
        made.server_proxy.min_supported_client_version,
        made.message_log.log_bodies,
        made.message_log.acceptable_timestamp_failure_period,
        made.tokens.enforce_pin_policy,
        made.tokens.signing_key_algorithm.value,
        made.message_log.max_body_bytes,
        made.server_proxy.close_after_response,
    ) == values


@pytest.mark.parametrize(
    ("profile", "values"),
    [
        ("", (True, 75, True, 80)),
        ("vanilla", (False, 75, False, 80)),
        ("ee", (False, 75, False, 80)),
        ("fi", (True, 120, True, 80)),
    ],
)
def test_profiles_reuse_connections_and_show_challenges_as_the_references_packages(
    profile: str, values: tuple[object, ...]
) -> None:
    made = settings(profile=profile)
    assert (
        made.server_proxy.reuse_connections,
        made.server_proxy.idle_timeout,
        made.acme.acme_challenge_port_enabled,
        made.acme.acme_challenge_port,
    ) == values


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_profile_is_made_of_settings_that_exist(profile: str) -> None:
    made = settings(profile=profile)
    for section, values in PROFILES[profile].items():
        for key, value in values.items():
            assert getattr(getattr(made, section), key) == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("TOKENS__ENFORCE_PIN_POLICY", "true", True),
        ("TOKENS__PIN_FILE", "80", "80"),
        ("TOKENS__PIN_COMMAND", '["/bin/pin", "a b"]', ("/bin/pin", "a b")),
        ("MESSAGE_LOG__TIMESTAMP_INTERVAL", "61.5", 61.5),
        ("SERVER__LOG_FORMAT", "json", "json"),
    ],
)
def test_the_environments_texts_become_values_of_the_settings_kind(
    name: str, text: str, value: object
) -> None:
    made = settings(**{f"POSTROAD_{name}": text})
    section, key = name.lower().split("__")
    assert getattr(getattr(made, section), key) == value


def test_a_hardware_token_can_be_named_in_the_environment() -> None:
    made = settings(POSTROAD_DEVICES__CARD__LIBRARY="/usr/lib/card.so")
    assert made.devices["card"].module_path == "/usr/lib/card.so"


def test_other_variables_are_no_settings() -> None:
    made = settings(POSTROAD_SERVER_HOME="/x", POSTROAD_TOKEN_PIN="1234", PATH="/bin")
    assert made == settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[client_proxi]\n", "no section or key 'client_proxi'; did you mean 'client_proxy'"),
        ("[client_proxy]\nhtp_port = 1\n", r"'htp_port' in \[client_proxy\]; did you mean 'http"),
        ("[client_proxy]\nocsp_port = 1\n", r"'ocsp_port' belongs into \[server_proxy\]"),
        (
            '[client_proxy]\nhttp_port = "80"\n',
            r"\[client_proxy\] http_port = '80': expected `int`, got `str`",
        ),
        (
            '[message_log]\noversized_bodies = "refused"\n',
            "write one of 'digest-only', 'refuse'; did you mean 'refuse'",
        ),
        (
            '[tokens]\nsigning_key_algorithm = "RSA-2049"\n',
            "write one of 'RSA-2048', .*; did you mean 'RSA-2048'",
        ),
        ('[server_proxy]\nmin_supported_client_version = "7.6"\n', 'write it as "7.6.0"'),
    ],
)
def test_a_mistake_in_the_file_is_told_with_key_value_and_fix(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        settings(text)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("POSTROAD_CLIENT_PROXY__HTP_PORT", "1", "no 'htp_port'; did you mean 'http_port'"),
        ("POSTROAD_CLIENTPROXY__HTTP_PORT", "1", "did you mean 'client_proxy'"),
        ("POSTROAD_CLIENT_PROXY__HTTP_PORT", "many", "POSTROAD_CLIENT_PROXY__HTTP_PORT='many'"),
        ("POSTROAD_CLIENT_PROXY__HTTP_PORT__X", "1", "part of no section"),
        ("POSTROAD_TOKENS__PIN_COMMAND", "[", "is not TOML"),
        ("POSTROAD_HOME__X", "1", "there is no 'home'"),
        ("POSTROAD_PROFILE", "se", "profile|'se'"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(name: str, value: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        settings(**{name: value})


def test_a_mistaken_profile_lists_the_profiles() -> None:
    with pytest.raises(ConfigurationError, match="write one of '', 'vanilla', 'ee', 'fi'"):
        settings(profile="est")
