"""Which keys are there, and which of them can be used now?

The keyring is one token's memory: the records of `token.json`, written before any change is
answered, and the private keys while the token is logged in. Blocking and single-threaded: the
service calls it from its own threads, one change at a time; `sign` alone may run beside others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from postroad.adapters.files import write_atomic
from postroad.adapters.key_stores import KeyStore, SoftwareKeyStore
from postroad.adapters.signer_protocol import (
    CertificateRecord,
    CertificateStatus,
    KeyAlgorithm,
    KeyRecord,
    KeyUsage,
    LentKeyReply,
    MadeRequest,
    RenewalArgument,
    RequestArgument,
    RequestRecord,
    TokenInfo,
    TokenRecord,
)
from postroad.adapters.tokens import SCRYPT_N, new_key_id
from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, sign_digest
from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import MAX_RESPONSE_BYTES, OcspResponse
from postroad.crypto.ocsp import CertificateStatus as OcspStatus
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.signer import tokens
from postroad.signer.requests import build_request

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from postroad.crypto.algorithms import PrivateKey, PublicKey

FAST_RSA_BITS: Final = 2048
"""A signature by such a key takes a quarter of a millisecond: two switches of threads take more."""
FAST_CURVE_BITS: Final = 256
MAX_RECORD_BYTES: Final = 64 * 1024 * 1024


class Keyring:
    """One token in use: the software token in `directory`, unless a `store` says otherwise.

    `ocsp_directory` only helps to choose among certificates; `new` is the record of a token that
    has none yet; with `rsa_pss` its RSA keys sign by PSS.
    """

    def __init__(
        self,
        directory: Path,
        ocsp_directory: Path,
        *,
        scrypt_n: int = SCRYPT_N,
        store: KeyStore | None = None,
        new: TokenRecord | None = None,
        rsa_pss: bool = False,
    ) -> None:
        self._keys: KeyStore = store or SoftwareKeyStore(directory, scrypt_n=scrypt_n)
        self._record_path = directory / "token.json"
        self._ocsp_directory = ocsp_directory
        self._record = self._load_record(new or TokenRecord())
        self._rsa_pss = rsa_pss
        self._private: dict[str, PrivateKey] = {}

    @property
    def record(self) -> TokenRecord:
        """The keys, requests and certificates."""
        return self._record

    @property
    def is_active(self) -> bool:
        """Whether the token is logged in."""
        return self._keys.is_open

    @property
    def is_initialised(self) -> bool:
        """Whether the token has a PIN."""
        return self._keys.is_initialised

    def info(self) -> TokenInfo:
        """The token and its state."""
        return TokenInfo(
            token=self._record,
            active=self.is_active,
            status=self._keys.status,
            available_keys=frozenset(self._private) if self.is_active else frozenset(),
            rsa_pss=self._rsa_pss,
        )

    # --- PIN -------------------------------------------------------------------------------------

    def initialise(self, pin: str) -> None:
        """Give the token its PIN; it stays logged out."""
        self._keys.initialise(pin)

    def login(self, pin: str) -> None:
        """Open every key that the PIN opens; a key without a record is adopted.

        A crash between making a key and its record must not lose the key, and a key that was put
        in another one's place must not sign: each key is compared with its record.
        """
        self._private = {}
        opened = self._keys.open(pin)
        private: dict[str, PrivateKey] = {}
        known = {key.id: key for key in self._record.keys}
        adopted = self._record
        for key_id, key in opened.items():
            public = tokens.public_key_der(key.public_key())
            if key_id not in known:
                adopted = tokens.with_key(adopted, _key_record(key_id, key, label=key_id))
            elif known[key_id].public_key != public:
                continue
            private[key_id] = key
        if adopted is not self._record:
            self._store(adopted)
        self._private = private

    def logout(self) -> None:
        """Forget the private keys and what opens them."""
        self._private = {}
        self._keys.close()

    def change_pin(self, old: str, new: str) -> None:
        """Replace the PIN; the token is logged out afterwards."""
        self._keys.change_pin(old, new)
        self.logout()

    # --- keys ------------------------------------------------------------------------------------

    def generate(self, label: str, algorithm: KeyAlgorithm, usage: KeyUsage | None) -> KeyRecord:
        """Generate a key pair; its file is durable before its record is."""
        self._require_login()
        self._require_lending(usage)
        key_id, key = self._keys.generate(label, algorithm)
        record = _key_record(key_id, key, label=label, usage=usage)
        self._store(tokens.with_key(self._record, record))
        self._private[key_id] = key
        return record

    def delete_key(self, key_id: str) -> None:
        """Delete a key with everything that belongs to it."""
        changed = tokens.without_key(self._record, key_id)
        # The key goes first: a record without a key is one that can't sign, whereas a key without
        # a record would be adopted at the next login.
        self._keys.delete(key_id)
        self._private.pop(key_id, None)
        self._store(changed)

    def rename(self, key_id: str, name: str) -> None:
        """Give a key, or the token, a friendly name."""
        self._store(tokens.renamed(self._record, key_id, name))

    def sign(self, key_id: str, digest_algorithm: str, digest: bytes) -> bytes:
        """Sign a digest: PKCS#1 v1.5 or PSS for RSA, raw `r||s` for EC."""
        key = self._private_key(key_id)
        digest_kind = DigestAlgorithm.by_name(digest_algorithm)
        if self._rsa_pss and isinstance(key, rsa.RSAPrivateKey):
            algorithm = SignatureAlgorithm.with_digest("RSA-PSS", digest_kind)
        else:
            algorithm = SignatureAlgorithm.for_key(key.public_key(), digest_kind)
        return sign_digest(key, algorithm, digest, ecdsa_raw=True)

    def signs_fast(self, key_id: str) -> bool:
        """Whether a signature takes less time than handing it to another thread would."""
        key = self._private.get(key_id)
        if not self._keys.lends_keys:
            return False
        if isinstance(key, rsa.RSAPrivateKey):
            return key.key_size <= FAST_RSA_BITS
        return key is not None and key.key_size <= FAST_CURVE_BITS

    # --- certificates ----------------------------------------------------------------------------

    def make_request(self, argument: RequestArgument) -> MadeRequest:
        """Make a certificate request and remember it."""
        self._require_lending(argument.usage)
        key = self._private_key(argument.key_id)
        request = RequestRecord(
            id=new_key_id(),
            subject=argument.subject,
            member=argument.member,
            subject_alt_name=argument.subject_alt_name,
            profile=argument.profile,
        )
        changed = tokens.with_request(self._record, argument.key_id, argument.usage, request)
        der = self._build(key, argument.usage, request)
        self._store(changed)
        return MadeRequest(id=request.id, der=der)

    def remake_request(self, key_id: str, request_id: str) -> MadeRequest:
        """Make a remembered request once more, with the same subject."""
        request = tokens.find_request(self._record, key_id, request_id)
        usage = tokens.find_key(self._record, key_id).usage
        key = self._private_key(key_id)
        if usage is None:
            raise ConfigurationError("the key has no usage", code=FaultCode.CSR_FAILED)
        return MadeRequest(id=request.id, der=self._build(key, usage, request))

    def _build(self, key: PrivateKey, usage: KeyUsage, request: RequestRecord) -> bytes:
        return build_request(
            key,
            usage,
            request.subject,
            subject_alt_name=request.subject_alt_name,
            rsa_pss=self._rsa_pss,
        )

    def delete_request(self, key_id: str, request_id: str) -> None:
        """Forget a certificate request."""
        self._store(tokens.without_request(self._record, key_id, request_id))

    def import_certificate(
        self, der: bytes, *, member: str | None, status: CertificateStatus | None
    ) -> CertificateRecord:
        """Import a certificate for one of the keys; it starts inactive."""
        imported = tokens.with_certificate(self._record, der, member=member, status=status)
        self._require_lending(imported.key.usage)
        self._store(imported.token)
        return imported.certificate

    def set_certificate(
        self, certificate_hash: str, *, active: bool | None, status: CertificateStatus | None
    ) -> None:
        """Change whether a certificate is used, and where it stands."""
        self._store(
            tokens.with_certificate_state(
                self._record, certificate_hash, active=active, status=status
            )
        )

    def set_renewal(self, renewal: RenewalArgument) -> None:
        """Remember how far the renewal of a certificate is."""
        self._store(tokens.with_renewal(self._record, renewal))

    def delete_certificate(self, certificate_hash: str) -> None:
        """Delete a certificate; its key stays."""
        self._store(tokens.without_certificate(self._record, certificate_hash))

    def certificates_on_token(self) -> tuple[bytes, ...]:
        """Certificates (DER) that lie on a hardware token."""
        self._require_login()
        return self._keys.certificates()

    def lend_authentication_key(self, at: datetime) -> LentKeyReply:
        """The authentication key for TLS, with its certificate; signing keys are never lent.

        Of several usable certificates the choice falls on one that is registered, then on one whose
        last OCSP response is good, then on the newest. Nothing is proven by that: peers judge.
        """
        self._require_login()
        usable: list[tuple[bool, int, datetime, str, Certificate]] = []
        for key in self._record.keys:
            if key.usage is not KeyUsage.AUTHENTICATION or key.id not in self._private:
                continue
            for record in key.certificates:
                certificate = Certificate.from_der(record.der)
                if record.active and certificate.is_valid_at(at):
                    registered = record.status is CertificateStatus.REGISTERED
                    rank = (registered, self._ocsp_rank(certificate), certificate.not_before)
                    usable.append((*rank, key.id, certificate))
        if not usable:
            raise ConfigurationError(
                "there is no active authentication certificate that is valid now",
                code=FaultCode.CERT_NOT_FOUND,
            )
        *_rank, key_id, certificate = max(usable, key=lambda entry: entry[:3])
        pem = self._private[key_id].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return LentKeyReply(private_key_pkcs8_pem=pem, certificate_der=certificate.der)

    # --- inside ----------------------------------------------------------------------------------

    def _ocsp_rank(self, certificate: Certificate) -> int:
        """2 for a good OCSP response, 1 for none, 0 for one that says anything else."""
        path = self._ocsp_directory / f"{certificate.sha1.hex()}.ocsp"
        try:
            with path.open("rb") as file:
                response = OcspResponse.parse(file.read(MAX_RESPONSE_BYTES + 1))
        except (OSError, PostroadError):
            return 1
        return 2 if response.status is OcspStatus.GOOD else 0

    def _require_login(self) -> None:
        if not self.is_initialised:
            raise ConfigurationError(
                "the token has no PIN yet: run `postroad server token init`",
                code=FaultCode.TOKEN_NOT_INITIALIZED,
            )
        if not self.is_active:
            raise ConfigurationError(
                "the token is logged out: run `postroad server token login`",
                code=FaultCode.TOKEN_NOT_ACTIVE,
            )

    def _require_lending(self, usage: KeyUsage | None) -> None:
        if usage is KeyUsage.AUTHENTICATION and not self._keys.lends_keys:
            raise ConfigurationError(
                "authentication keys live in the software token only: TLS needs the key itself",
                code=FaultCode.WRONG_CERT_USAGE,
            )

    def _private_key(self, key_id: str) -> PrivateKey:
        key = self._private.get(key_id)
        if key is not None and self._keys.is_open:
            return key
        self._require_login()
        tokens.find_key(self._record, key_id)
        raise ConfigurationError("the key can't be opened", code=FaultCode.KEY_NOT_FOUND)

    def _load_record(self, new: TokenRecord) -> TokenRecord:
        try:
            with self._record_path.open("rb") as file:
                data = file.read(MAX_RECORD_BYTES + 1)
        except FileNotFoundError:
            return new
        except OSError as error:
            raise ConfigurationError(
                f"{self._record_path} can't be read: {error.strerror}",
                code=FaultCode.TOKEN_NOT_AVAILABLE,
            ) from error
        try:
            return msgspec.json.decode(data, type=TokenRecord)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{self._record_path} is damaged: {error}", code=FaultCode.TOKEN_NOT_AVAILABLE
            ) from error

    def _store(self, record: TokenRecord) -> None:
        save_record(self._record_path, record)
        self._record = record


def save_record(path: Path, record: TokenRecord) -> None:
    """Write a token's record durably, readable by its owner only."""
    data = msgspec.json.format(msgspec.json.encode(record), indent=2)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, data, mode=0o600)
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be written: {error.strerror}", code=FaultCode.TOKEN_NOT_AVAILABLE
        ) from error


def algorithm_name(public: PublicKey) -> str:
    """How a kind of key is called: `RSA-2048`, `EC-P256`."""
    if isinstance(public, rsa.RSAPublicKey):
        return f"RSA-{public.key_size}"
    return f"EC-P{public.key_size}"


def _key_record(
    key_id: str, key: PrivateKey, *, label: str, usage: KeyUsage | None = None
) -> KeyRecord:
    public = key.public_key()
    return KeyRecord(
        id=key_id,
        label=label,
        friendly_name=label,
        algorithm=algorithm_name(public),
        public_key=tokens.public_key_der(public),
        usage=usage,
    )
