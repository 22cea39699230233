"""How does a hardware token make, keep and use keys, and how does it come back after a loss?

Everything here is called from one thread (see ``pkcs11_library``). A session that was lost, because
the token was taken out or its library started anew, is opened again with the PIN that was right
before; a PIN that is no longer right is forgotten at once, so that no retry can lock the token.
Objects of one key share their CKA_ID. Reference: ``HardwareTokenWorker``, ``KeyPairHelper``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from postroad.adapters.hardware_devices import key_id_of
from postroad.adapters.pkcs11_keys import TokenEcKey, TokenRsaKey
from postroad.adapters.pkcs11_library import describe, status_of
from postroad.adapters.signer_protocol import KeyAlgorithm, TokenStatus
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec

    from postroad.adapters.pkcs11_keys import SignByToken
    from postroad.adapters.pkcs11_library import Pkcs11Library
    from postroad.crypto.algorithms import PrivateKey, PublicKey

_Object: TypeAlias = Any
"""An object on the token; the library adds its abilities when it is found."""

MAX_OBJECTS: Final = 10_000
_RSA_BITS: Final = {
    KeyAlgorithm.RSA_2048: 2048,
    KeyAlgorithm.RSA_3072: 3072,
    KeyAlgorithm.RSA_4096: 4096,
}
_CURVES: Final = {
    KeyAlgorithm.EC_P256: "secp256r1",
    KeyAlgorithm.EC_P384: "secp384r1",
    KeyAlgorithm.EC_P521: "secp521r1",
}
_PSS_PARAMETERS: Final = {
    "sha256": (pkcs11.Mechanism.SHA256, pkcs11.MGF.SHA256, 32),
    "sha384": (pkcs11.Mechanism.SHA384, pkcs11.MGF.SHA384, 48),
    "sha512": (pkcs11.Mechanism.SHA512, pkcs11.MGF.SHA512, 64),
}
_PIN_ERRORS: Final[dict[type[pkcs11.PKCS11Error], tuple[TokenStatus, FaultCode, str]]] = {
    pkcs11.PinIncorrect: (
        TokenStatus.USER_PIN_INCORRECT,
        FaultCode.PIN_INCORRECT,
        "the PIN is wrong",
    ),
    pkcs11.PinInvalid: (
        TokenStatus.USER_PIN_INVALID,
        FaultCode.PIN_INCORRECT,
        "the token takes no such PIN",
    ),
    pkcs11.PinLenRange: (
        TokenStatus.USER_PIN_INVALID,
        FaultCode.PIN_INCORRECT,
        "the token takes no PIN of that length",
    ),
    pkcs11.PinExpired: (
        TokenStatus.USER_PIN_EXPIRED,
        FaultCode.LOGIN_FAILED,
        "the PIN has expired: change it with the vendor's tool",
    ),
    pkcs11.PinLocked: (
        TokenStatus.USER_PIN_LOCKED,
        FaultCode.LOGIN_FAILED,
        "the PIN is locked: unlock it with the vendor's tool",
    ),
    pkcs11.UserPinNotInitialized: (
        TokenStatus.NOT_INITIALIZED,
        FaultCode.TOKEN_NOT_INITIALIZED,
        "the token has no user PIN: set it with the vendor's tool",
    ),
}
_NOT_LOST: Final = (
    pkcs11.DataInvalid,
    pkcs11.DataLenRange,
    pkcs11.KeySizeRange,
    pkcs11.KeyTypeInconsistent,
    pkcs11.MechanismInvalid,
    pkcs11.MechanismParamInvalid,
    pkcs11.AttributeTypeInvalid,
    pkcs11.AttributeValueInvalid,
    pkcs11.TemplateInconsistent,
    pkcs11.TemplateIncomplete,
    pkcs11.TokenWriteProtected,
    pkcs11.SessionReadOnly,
)
"""What a new session wouldn't mend."""


class Pkcs11Token:
    """The private keys of one hardware token; a ``KeyStore`` of the signer."""

    lends_keys = False

    def __init__(self, library: Pkcs11Library, token_id: str) -> None:
        self._library = library
        self._settings = library.settings
        self._token_id = token_id
        self._pin: str | None = None
        self._session: pkcs11.Session | None = None
        self._session_generation = -1
        self._objects: dict[str, bytes] = {}
        """Key id -> CKA_ID."""
        self._handles: dict[str, _Object] = {}
        self._pin_status: TokenStatus | None = None

    # --- state -----------------------------------------------------------------------------------

    @property
    def is_initialised(self) -> bool:
        """Whether a PIN can open it; the vendor's tool sets the first one."""
        return self._pin_status is not TokenStatus.NOT_INITIALIZED

    @property
    def status(self) -> TokenStatus:
        """What is known of the PIN."""
        return self._pin_status or TokenStatus.OK

    @property
    def is_open(self) -> bool:
        """Whether somebody has logged in; the session itself may be lost and come back."""
        return self._pin is not None

    def look(self, token: pkcs11.Token | None) -> None:
        """Take in what the library shows of the token now; None when it isn't there."""
        if token is None:
            self._drop_session()
        else:
            self._note_flags(token)

    def _note_flags(self, token: pkcs11.Token) -> None:
        told = status_of(token)
        if told is not None or self._pin_status is not TokenStatus.USER_PIN_INCORRECT:
            self._pin_status = told

    # --- PIN -------------------------------------------------------------------------------------

    def initialise(self, _pin: str) -> None:
        """Refused: a hardware token gets its first PIN from the vendor's tool."""
        raise ConfigurationError(
            "a hardware token is initialised with the vendor's tool",
            code=FaultCode.TOKEN_NOT_INITIALIZED,
        )

    def open(self, pin: str) -> dict[str, PrivateKey]:
        """Log in and list the keys that can sign.

        Raises ``ConfigurationError``: ``pin_incorrect``, ``login_failed``, ``token_not_available``.
        """
        self.close()
        session = self._log_in(pin)
        try:
            keys = dict(self._scan(session))
        except pkcs11.PKCS11Error as error:
            self._drop_session()
            raise self._failed("listing keys", error) from error
        self._pin = pin
        if self._settings.sign_verify_pin:
            self._drop_session()
        return keys

    def close(self) -> None:
        """Log out and forget the PIN."""
        self._pin = None
        self._drop_session()

    def change_pin(self, old: str, new: str) -> None:
        """Replace the user PIN; the token is logged out afterwards."""
        self.close()
        session = self._log_in(old)
        try:
            session.set_pin(old, new)
        except tuple(_PIN_ERRORS) as error:
            raise self._pin_refused(error) from None
        except pkcs11.PKCS11Error as error:
            raise self._failed("changing the PIN", error) from error
        finally:
            self._drop_session()

    def _log_in(self, pin: str) -> pkcs11.Session:
        token = self._library.find(self._token_id)
        try:
            session = token.open(rw=not self._settings.read_only, user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:
            # A session that failed before left the user logged in: start from nothing.
            self._library.restart()
            session = self._log_in_anew(pin)
        except tuple(_PIN_ERRORS) as error:
            self._note_flags(token)
            raise self._pin_refused(error) from None
        except pkcs11.PKCS11Error as error:
            raise self._failed("logging in", error) from error
        self._session, self._session_generation = session, self._library.generation
        self._pin_status = None
        self._handles = {}
        return session

    def _log_in_anew(self, pin: str) -> pkcs11.Session:
        try:
            token = self._library.find(self._token_id)
            return token.open(rw=not self._settings.read_only, user_pin=pin)
        except tuple(_PIN_ERRORS) as error:
            raise self._pin_refused(error) from None
        except pkcs11.PKCS11Error as error:
            raise self._failed("logging in", error) from error

    def _pin_refused(self, error: pkcs11.PKCS11Error) -> ConfigurationError:
        """Remember the state, forget the PIN; the library's error may not reach a log."""
        status, code, message = next(
            entry for kind, entry in _PIN_ERRORS.items() if isinstance(error, kind)
        )
        self._pin = None
        try:
            told = status_of(self._library.find(self._token_id))
        except ConfigurationError:
            told = None
        self._pin_status = told or status
        warning = _WARNINGS.get(self._pin_status, "")
        return ConfigurationError(message + warning, code=code)

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        self._handles = {}
        if session is not None and self._session_generation == self._library.generation:
            try:
                session.close()
            except pkcs11.PKCS11Error:
                return  # it was lost before; the library forgets it at its next start

    # --- keys ------------------------------------------------------------------------------------

    def generate(self, label: str, algorithm: KeyAlgorithm) -> tuple[str, PrivateKey]:
        """Make a key pair on the token; it can't be copied out of it."""
        session = self._writable_session()
        object_id = os.urandom(20)
        common: dict[str, Any] = {"id": object_id, "label": label, "store": True}
        public_template = _attributes(self._settings.pub_key_attributes)
        private_template = _attributes(self._settings.priv_key_attributes)
        private_template[pkcs11.Attribute.PRIVATE] = True
        try:
            if algorithm in _RSA_BITS:
                pair = session.generate_keypair(
                    pkcs11.KeyType.RSA,
                    _RSA_BITS[algorithm],
                    public_template=public_template,
                    private_template=private_template,
                    **common,
                )
            else:
                for unusual in (pkcs11.Attribute.ENCRYPT, pkcs11.Attribute.DECRYPT):
                    public_template.pop(unusual, None)
                    private_template.pop(unusual, None)
                curve = encode_named_curve_parameters(_CURVES[algorithm])
                parameters = session.create_domain_parameters(
                    pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: curve}, local=True
                )
                pair = parameters.generate_keypair(
                    mechanism=pkcs11.Mechanism.EC_KEY_PAIR_GEN,
                    public_template=public_template,
                    private_template=private_template,
                    **common,
                )
            self._must_stay_inside(pair)
            public = _public_key(pair[0])
        except pkcs11.PKCS11Error as error:
            raise self._failed("making a key", error) from error
        if public is None:
            raise self._failed("making a key", ValueError("its public half can't be read"))
        key_id = object_id.hex().upper()
        self._objects[key_id] = object_id
        return key_id, self._private_key(key_id, public)

    def _must_stay_inside(self, pair: tuple[_Object, _Object]) -> None:
        """Destroy a new key that the device would give away in spite of its template."""
        private = pair[1]
        inside = private[pkcs11.Attribute.SENSITIVE] and not private[pkcs11.Attribute.EXTRACTABLE]
        attributes = self._settings.priv_key_attributes
        if inside or attributes.extractable or attributes.sensitive is False:
            return
        for half in pair:
            half.destroy()
        raise ConfigurationError(
            "the device makes keys that can be copied, against its settings",
            code=FaultCode.HSM_NON_OPERATIONAL,
        )

    def delete(self, key_id: str) -> None:
        """Destroy a key, its public half and its certificates on the token."""
        session = self._writable_session()
        object_id = self._objects.get(key_id)
        if object_id is None:
            return
        try:
            for kind in (
                pkcs11.ObjectClass.PRIVATE_KEY,
                pkcs11.ObjectClass.PUBLIC_KEY,
                pkcs11.ObjectClass.CERTIFICATE,
            ):
                wanted = {pkcs11.Attribute.CLASS: kind, pkcs11.Attribute.ID: object_id}
                for found in list(session.get_objects(wanted)):
                    found.destroy()
        except pkcs11.PKCS11Error as error:
            raise self._failed("deleting a key", error) from error
        self._objects.pop(key_id, None)
        self._handles.pop(key_id, None)

    def certificates(self) -> tuple[bytes, ...]:
        """The certificates (DER) that lie on the token; it must be logged in."""
        try:
            session = self._open_session()
            wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE}
            return tuple(
                bytes(found[pkcs11.Attribute.VALUE])
                for found, _ in zip(session.get_objects(wanted), range(MAX_OBJECTS), strict=False)
            )
        except pkcs11.PKCS11Error as error:
            raise self._failed("listing certificates", error) from error
        finally:
            if self._settings.sign_verify_pin:
                self._drop_session()

    def _scan(self, session: pkcs11.Session) -> Iterator[tuple[str, PrivateKey]]:
        """The private keys on the token whose public half can be learnt."""
        self._objects = {}
        wanted = {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY,
            pkcs11.Attribute.SIGN: True,
        }
        for private in list(session.get_objects(wanted))[:MAX_OBJECTS]:
            object_id = bytes(private[pkcs11.Attribute.ID])
            public = _find_public(session, private, object_id)
            if public is None:
                continue
            der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            key_id = key_id_of(object_id, der)
            if key_id in self._objects:
                continue
            self._objects[key_id] = object_id
            yield key_id, self._private_key(key_id, public)

    def _private_key(self, key_id: str, public: PublicKey) -> PrivateKey:
        def by_token(mechanism: str, digest: str, data: bytes) -> bytes:
            return self._sign(key_id, mechanism, digest, data)

        sign: SignByToken = by_token
        if isinstance(public, rsa.RSAPublicKey):
            return TokenRsaKey(public, sign)
        return TokenEcKey(public, sign)

    # --- signing ---------------------------------------------------------------------------------

    def _sign(self, key_id: str, mechanism: str, digest: str, data: bytes) -> bytes:
        """Sign; if that fails in a new session, and at last with the library started anew."""
        try:
            for mend in (self._drop_session, self._library.restart, None):
                try:
                    return self._sign_once(key_id, mechanism, digest, data)
                except _NOT_LOST as error:
                    raise self._failed("signing", error) from error
                except pkcs11.PKCS11Error as error:
                    if mend is None:
                        self._drop_session()
                        raise self._failed("signing", error) from error
                    mend()
        finally:
            if self._settings.sign_verify_pin:
                self._drop_session()
        raise AssertionError  # pragma: no cover - the last round returns or raises

    def _sign_once(self, key_id: str, mechanism: str, digest: str, data: bytes) -> bytes:
        handle = self._handle(key_id)
        if mechanism == "CKM_RSA_PKCS_PSS":
            parameters = _PSS_PARAMETERS.get(digest)
            if parameters is None:
                raise pkcs11.MechanismParamInvalid
            value = handle.sign(
                data, mechanism=pkcs11.Mechanism.RSA_PKCS_PSS, mechanism_param=parameters
            )
        elif mechanism == "CKM_RSA_PKCS":
            value = handle.sign(data, mechanism=pkcs11.Mechanism.RSA_PKCS)
        else:
            value = handle.sign(data, mechanism=pkcs11.Mechanism.ECDSA)
        return bytes(value)

    def _handle(self, key_id: str) -> _Object:
        session = self._open_session()
        handle = self._handles.get(key_id)
        if handle is None:
            wanted = {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY,
                pkcs11.Attribute.ID: self._objects.get(key_id, b""),
            }
            found = list(session.get_objects(wanted))
            if len(found) != 1:
                raise ConfigurationError(
                    "the key is no longer on the token", code=FaultCode.KEY_NOT_FOUND
                )
            handle = self._handles[key_id] = found[0]
        return handle

    def _open_session(self) -> pkcs11.Session:
        """The session, opened again when it was lost since the login."""
        if self._session_generation != self._library.generation:
            self._session, self._handles = None, {}
        if self._session is not None:
            return self._session
        if self._pin is None:
            raise ConfigurationError("the token is logged out", code=FaultCode.TOKEN_NOT_ACTIVE)
        return self._log_in(self._pin)

    def _writable_session(self) -> pkcs11.Session:
        if self._settings.read_only:
            raise ConfigurationError(
                f"the settings of device {self._library.name} say read_only",
                code=FaultCode.TOKEN_READONLY,
            )
        return self._open_session()

    def _failed(self, what: str, error: Exception) -> ConfigurationError:
        """The error of a device that didn't do what it was asked."""
        if isinstance(error, pkcs11.TokenWriteProtected | pkcs11.SessionReadOnly):
            code = FaultCode.TOKEN_READONLY
        elif isinstance(error, pkcs11.MechanismInvalid | pkcs11.MechanismParamInvalid):
            code = FaultCode.UNSUPPORTED_SIGN_ALGORITHM
        elif isinstance(error, pkcs11.DeviceRemoved | pkcs11.TokenNotPresent):
            code = FaultCode.TOKEN_NOT_AVAILABLE
        else:
            code = FaultCode.HSM_NON_OPERATIONAL
        return ConfigurationError(
            f"{what} on token {self._token_id} failed: {describe(error)}", code=code
        )


_WARNINGS: Final = {
    TokenStatus.USER_PIN_COUNT_LOW: "; few tries are left",
    TokenStatus.USER_PIN_FINAL_TRY: "; ONE try is left before the token locks",
    TokenStatus.USER_PIN_LOCKED: "; the PIN is locked now",
}


def _attributes(wanted: msgspec.Struct) -> dict[pkcs11.Attribute, object]:
    """A template of those attributes that the settings decide."""
    return {
        pkcs11.Attribute[name.upper()]: value
        for name in wanted.__struct_fields__
        if (value := getattr(wanted, name)) is not None
    }


def _find_public(session: pkcs11.Session, private: _Object, object_id: bytes) -> PublicKey | None:
    """The public half: an object of its own, or what an RSA private key tells of it."""
    wanted = {
        pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY,
        pkcs11.Attribute.ID: object_id,
    }
    for found in list(session.get_objects(wanted)):
        return _public_key(found)
    if private.key_type is pkcs11.KeyType.RSA:
        return _rsa_public_key(private)
    return None


def _public_key(key: _Object) -> PublicKey | None:
    match key.key_type:
        case pkcs11.KeyType.RSA:
            return _rsa_public_key(key)
        case pkcs11.KeyType.EC:
            try:
                public = load_der_public_key(encode_ec_public_key(key))
            except ValueError:
                return None  # a curve that nobody here knows
            return public if isinstance(public, ec.EllipticCurvePublicKey) else None
        case _:
            return None


def _rsa_public_key(key: _Object) -> rsa.RSAPublicKey:
    modulus = int.from_bytes(key[pkcs11.Attribute.MODULUS], "big")
    exponent = int.from_bytes(key[pkcs11.Attribute.PUBLIC_EXPONENT], "big")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()
