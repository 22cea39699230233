"""What a hardware token, its library or a copied key configuration says is somebody else's text."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest

from postroad.adapters.hardware_devices import DeviceSettings, directory_name
from postroad.adapters.signer_protocol import PinArgument, SignArgument, TokenInfo
from postroad.clock import FixedClock
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, UnavailablePeer
from postroad.securityserver.settings import parse_settings
from postroad.signer.devices import DeviceService
from postroad.signer.keyconf_import import import_keyconf
from postroad.signer.keyring import Keyring
from postroad.signer.routing import TokenRouter
from postroad.signer.service import SignerService

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYCONF = (
    Path(__file__).parents[1]
    / "data/reference/keyconf/signer/mergetesting/keyconf_base_no_duplicate_keyIds.xml"
)
HOSTILE = [
    "..",
    ".",
    "../../x",
    "/etc/passwd",
    "a/b",
    "a\0b",
    "....",
    "%2e%2e",
    "\x1b[2J",
    "ä" * 32,
]


@pytest.mark.parametrize("label", HOSTILE)
def test_a_label_names_no_directory_but_its_own(tmp_path: Path, label: str) -> None:
    name = directory_name(label)
    assert unquote(name) == label
    path = (tmp_path / name).resolve()
    assert path.parent == tmp_path.resolve()
    assert len(name) < 255


@pytest.mark.parametrize("label", HOSTILE)
def test_ids_are_printable_and_never_empty(label: str) -> None:
    settings = DeviceSettings(module_path="x", token_id_format="{label}{serialNumber}")
    for text in (label, ""):
        token_id = settings.token_id("hsm", slot_index=3, serial_number="", label=text)
        assert token_id
        assert token_id.isprintable()


def test_a_label_with_braces_is_not_filled_in_again() -> None:
    settings = DeviceSettings(module_path="x", token_id_format="{label}-{slotIndex}")
    token_id = settings.token_id("hsm", slot_index=1, serial_number="s", label="{serialNumber}")
    assert token_id == "{serialNumber}-1"


@pytest.mark.parametrize("name", ["..", "a/b", "", "-x", "a b", "ä"])
def test_device_names_are_plain(tmp_path: Path, name: str) -> None:
    text = f'[server]\nidentifier = "T/G/1/S"\n[devices."{name}"]\nlibrary = "x.so"\n'
    with pytest.raises(ConfigurationError, match="letters"):
        parse_settings(text, home=tmp_path)


def test_a_copied_key_configuration_writes_nowhere_else(tmp_path: Path) -> None:
    source = tmp_path / "etc"
    source.mkdir()
    text = KEYCONF.read_text().replace("<deviceType>hsm_ncipher<", "<deviceType>../../out<")
    (source / "keyconf.xml").write_text(text.replace("<id>2</id>", "<id>..</id>"))
    report = import_keyconf(source, tmp_path / "signer", "1234")
    assert any("'../../out'" in line for line in report.left)
    written = set(tmp_path.rglob("token.json"))
    assert written == {tmp_path / "signer/token.json"}
    shutil.rmtree(tmp_path / "signer")
    (source / "keyconf.xml").write_text(KEYCONF.read_text().replace("<id>2</id>", "<id>..</id>"))
    import_keyconf(source, tmp_path / "signer", "1234")
    assert (tmp_path / "signer/devices/hsm_ncipher/%2E%2E/token.json").exists()


class StrangeDevice:
    """A device's process that claims the software token's id and keys."""

    def __init__(self, info: TokenInfo) -> None:
        self.info = info
        self.asked: list[str] = []

    async def call(self, method: str, argument: object, kind: object, **_: object) -> object:
        del argument, kind
        self.asked.append(method)
        if method == "tokens":
            return [self.info]
        raise UnavailablePeer("no")


def test_no_device_takes_the_place_of_the_software_token(tmp_path: Path) -> None:
    async def work() -> None:
        keyring = Keyring(tmp_path / "signer", tmp_path, scrypt_n=16)
        keyring.initialise("1234")
        keyring.login("1234")
        from postroad.adapters.signer_protocol import KeyAlgorithm, KeyUsage

        key = keyring.generate("k", KeyAlgorithm.EC_P256, KeyUsage.SIGNING)
        device = StrangeDevice(keyring.info())
        service = SignerService(keyring, FixedClock(NOW))
        router = TokenRouter(service, {"evil": device})  # a double
        await router.tokens()
        argument = msgspec.msgpack.encode(SignArgument(key.id, "SHA-256", bytes(32)))
        assert len(await router.handle("sign", argument)) == 64  # bytes
        await router.handle("0/login", msgspec.msgpack.encode(PinArgument(pin="1234")))
        assert set(device.asked) == {"tokens"}  # it saw neither digest nor PIN
        service.close()

    asyncio.run(work())


@pytest.mark.parametrize("method", ["none/login", "/login", "x/../0/login", "hsm/"])
def test_calls_for_tokens_that_are_not_there_are_refused(tmp_path: Path, method: str) -> None:
    async def work() -> None:
        settings = DeviceSettings(module_path=str(tmp_path / "none.so"))
        device = DeviceService("hsm", settings, tmp_path / "devices", FixedClock(NOW))
        service = SignerService(Keyring(tmp_path / "signer", tmp_path), FixedClock(NOW))
        for handle in (device.handle, TokenRouter(service, {}).handle):
            with pytest.raises((ConfigurationError, MalformedInput)) as caught:
                await handle(method, msgspec.msgpack.encode(PinArgument(pin="canary")))
            assert caught.value.code in {
                FaultCode.TOKEN_NOT_FOUND,
                FaultCode.INVALID_REQUEST,
                FaultCode.TOKEN_NOT_INITIALIZED,
            }
            assert "canary" not in str(caught.value)
        device.close()
        service.close()

    asyncio.run(work())
