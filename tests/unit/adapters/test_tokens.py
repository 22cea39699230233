"""Key files that only the PIN opens."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from postroad.adapters.tokens import SoftwareToken, new_key_id
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from pathlib import Path

PIN = "canary-pin-4711"


@pytest.fixture
def token(tmp_path: Path) -> SoftwareToken:
    token = SoftwareToken(tmp_path / "signer", scrypt_n=16)
    token.initialise(PIN)
    return token


def code_of(error: pytest.ExceptionInfo[ConfigurationError]) -> FaultCode:
    return error.value.code


def test_key_survives_storing(token: SoftwareToken) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    key_id = new_key_id()
    token.store_key(token.unlock(PIN), key_id, key)
    loaded = token.load_key(token.unlock(PIN), key_id)
    assert loaded.private_numbers() == key.private_numbers()
    assert token.key_ids() == {key_id}


def test_files_and_directories_belong_to_their_owner_only(
    token: SoftwareToken, tmp_path: Path
) -> None:
    token.store_key(token.unlock(PIN), new_key_id(), ec.generate_private_key(ec.SECP256R1()))
    for path in (tmp_path / "signer").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    assert (tmp_path / "signer").stat().st_mode & 0o777 == 0o700


def test_wrong_pin_opens_nothing(token: SoftwareToken) -> None:
    with pytest.raises(ConfigurationError) as caught:
        token.unlock(PIN + "x")
    assert code_of(caught) is FaultCode.PIN_INCORRECT
    assert PIN not in str(caught.value)


@pytest.mark.parametrize("pin", ["", "x" * 1025])
def test_impossible_pin_is_refused(token: SoftwareToken, pin: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        token.unlock(pin)
    assert code_of(caught) is FaultCode.PIN_INCORRECT


def test_token_without_pin_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SoftwareToken(tmp_path / "none", scrypt_n=16).unlock(PIN)
    assert code_of(caught) is FaultCode.TOKEN_NOT_INITIALIZED


def test_token_is_initialised_once(token: SoftwareToken) -> None:
    with pytest.raises(ConfigurationError):
        token.initialise("other")
    token.unlock(PIN)


def test_changed_pin_opens_the_same_keys_and_the_old_one_none(token: SoftwareToken) -> None:
    key_id = new_key_id()
    token.store_key(token.unlock(PIN), key_id, ec.generate_private_key(ec.SECP256R1()))
    token.change_pin(PIN, "new")
    token.load_key(token.unlock("new"), key_id)
    with pytest.raises(ConfigurationError):
        token.unlock(PIN)


def test_changing_the_pin_needs_the_old_one(token: SoftwareToken) -> None:
    with pytest.raises(ConfigurationError):
        token.change_pin("wrong", "new")
    token.unlock(PIN)


def test_key_file_is_encrypted_and_the_pin_alone_does_not_open_it(
    token: SoftwareToken, tmp_path: Path
) -> None:
    key_id = new_key_id()
    token.store_key(token.unlock(PIN), key_id, rsa.generate_private_key(65537, 2048))
    data = (tmp_path / "signer/keys" / f"{key_id}.pem").read_bytes()
    assert data.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    with pytest.raises(ValueError):
        load_pem_private_key(data, PIN.encode())


def test_key_of_another_token_does_not_open(token: SoftwareToken, tmp_path: Path) -> None:
    other = SoftwareToken(tmp_path / "other", scrypt_n=16)
    other.initialise(PIN)
    key_id = new_key_id()
    other.store_key(other.unlock(PIN), key_id, ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / f"other/keys/{key_id}.pem").rename(tmp_path / f"signer/keys/{key_id}.pem")
    with pytest.raises(ConfigurationError) as caught:
        token.load_key(token.unlock(PIN), key_id)
    assert code_of(caught) is FaultCode.KEY_NOT_FOUND


@pytest.mark.parametrize("key_id", ["../pin", "", "AB", "aabbccdd", "AABBCCDD/", "A" * 65])
def test_key_id_never_names_another_file(token: SoftwareToken, key_id: str) -> None:
    secret = token.unlock(PIN)
    for operation in (token.delete_key, lambda name: token.load_key(secret, name)):
        with pytest.raises(ConfigurationError) as caught:
            operation(key_id)
        assert code_of(caught) is FaultCode.KEY_NOT_FOUND


def test_damaged_pin_file_is_told_apart_from_a_wrong_pin(
    token: SoftwareToken, tmp_path: Path
) -> None:
    (tmp_path / "signer/pin.json").write_text("{}")
    with pytest.raises(ConfigurationError) as caught:
        token.unlock(PIN)
    assert code_of(caught) is FaultCode.TOKEN_NOT_AVAILABLE


def test_secret_neither_prints_nor_pickles(token: SoftwareToken) -> None:
    secret = token.unlock(PIN)
    assert secret.passphrase().decode() not in repr(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_deleted_key_is_gone_and_deleting_it_again_is_no_error(token: SoftwareToken) -> None:
    key_id = new_key_id()
    token.store_key(token.unlock(PIN), key_id, ec.generate_private_key(ec.SECP256R1()))
    token.delete_key(key_id)
    token.delete_key(key_id)
    assert token.key_ids() == frozenset()
