from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.signing_keys import KeyAlgorithm, initialize_token
from postroad.configurationproxy.instances import add_signing_key, create_instance
from support.configuration_proxy import PIN, Proxy, proxy_settings, unlocked
from support.globalconf import Instance, Network

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def token_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token with its PIN, made once: stretching PINs takes time."""
    home = tmp_path_factory.mktemp("confproxy") / "token"
    initialize_token(home, PIN)
    return home


@pytest.fixture
def proxy(tmp_path: Path, token_template: Path) -> Proxy:
    """A proxy with an instance PX that passes on TEST, and the federated PARTNER with it."""
    settings = proxy_settings(tmp_path / "home")
    token = unlocked(token_template, settings.token_path)
    source = Instance()
    partner = Instance(name="PARTNER", address="partner.example")
    for each in (source, partner):
        each.publish()
    made = Proxy(settings, token, source, partner, Network(source, partner))
    create_instance(settings, "PX", source.anchor().encode(), federations="all")
    add_signing_key(settings, "PX", token, KeyAlgorithm.EC)
    return made
