"""What do the signer and its clients say to each other, and what does a token look like?

The records here are both what `token.json` stores and what goes over the signer's socket; there is
no private key and no PIN in any of them but in the arguments of `login` and its kin, which are
never logged. Vocabulary: the reference's key configuration (keyconf), with its status words.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Final

import msgspec

SOFTWARE: Final = "softToken"
SOFTWARE_ID: Final = "0"


class KeyUsage(StrEnum):
    """What a key is for; fixed by its first certificate request or certificate."""

    SIGNING = "SIGNING"
    AUTHENTICATION = "AUTHENTICATION"


class KeyAlgorithm(StrEnum):
    """The kinds of keys that a token generates."""

    RSA_2048 = "RSA-2048"
    RSA_3072 = "RSA-3072"
    RSA_4096 = "RSA-4096"
    EC_P256 = "EC-P256"
    EC_P384 = "EC-P384"
    EC_P521 = "EC-P521"


class CertificateStatus(StrEnum):
    """Where a certificate stands with the Central Server; the reference's words."""

    SAVED = "saved"
    REGISTRATION_IN_PROGRESS = "registration in progress"
    REGISTERED = "registered"
    DELETION_IN_PROGRESS = "deletion in progress"
    GLOBAL_ERROR = "global error"


class CertificateRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A certificate of a key."""

    der: bytes
    status: CertificateStatus
    active: bool = False
    member: str | None = None
    """`INSTANCE/CLASS/CODE`, percent-escaped; None for authentication certificates."""
    renewed_by: str | None = None
    """The hash of the certificate that takes this one's place."""
    renewal_error: str | None = None
    """Why the last attempt to renew it failed."""
    next_renewal: str | None = None
    """When the next attempt is due, ISO 8601."""
    activation_error: str | None = None
    """Why it could not be activated at its import."""

    @property
    def hash(self) -> str:
        """How a certificate is named everywhere: SHA-256 of its DER, upper-case hex."""
        return sha256(self.der).hexdigest().upper()


class RequestRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A certificate request that was made and is not answered yet; the request can be remade."""

    id: str
    subject: tuple[tuple[str, str], ...]
    """Attribute type (short name or dotted OID) and value, most general first."""
    member: str | None = None
    subject_alt_name: str | None = None
    profile: str = ""


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key pair of the token, without its private half."""

    id: str
    label: str
    friendly_name: str
    algorithm: str
    public_key: bytes
    """SubjectPublicKeyInfo, DER."""
    usage: KeyUsage | None = None
    certificates: tuple[CertificateRecord, ...] = ()
    requests: tuple[RequestRecord, ...] = ()


class TokenRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `token.json` stores."""

    version: int = 1
    id: str = "0"
    friendly_name: str = "softToken-0"
    keys: tuple[KeyRecord, ...] = ()


class TokenStatus(StrEnum):
    """The reference's words for the state of the PIN."""

    OK = "OK"
    NOT_INITIALIZED = "NOT_INITIALIZED"
    USER_PIN_INCORRECT = "USER_PIN_INCORRECT"
    USER_PIN_INVALID = "USER_PIN_INVALID"
    USER_PIN_EXPIRED = "USER_PIN_EXPIRED"
    USER_PIN_COUNT_LOW = "USER_PIN_COUNT_LOW"
    USER_PIN_FINAL_TRY = "USER_PIN_FINAL_TRY"
    USER_PIN_LOCKED = "USER_PIN_LOCKED"


class TokenInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The token and its state as the signer tells it."""

    token: TokenRecord
    active: bool
    status: TokenStatus
    available_keys: frozenset[str] = frozenset()
    """Keys that can sign now; empty while the token is logged out."""
    kind: str = SOFTWARE
    """`softToken`, or the name of the device that holds it."""
    available: bool = True
    """Whether the token is there and its library answers."""
    read_only: bool = False
    batch_signing: bool = True
    """Whether messages may share a signature of this token's keys."""
    rsa_pss: bool = False
    """Whether RSA keys sign with PSS instead of PKCS#1 v1.5."""
    problem: str = ""
    """Why it is not available, in words."""


# --- arguments, one type per method that takes any -----------------------------------------------


class PinArgument(msgspec.Struct, frozen=True, kw_only=True):
    """`initialise` and `login`."""

    pin: Annotated[str, msgspec.Meta(max_length=1024)]
    enforce_policy: bool = False

    def __repr__(self) -> str:
        return "PinArgument([redacted])"


class ChangePinArgument(msgspec.Struct, frozen=True, kw_only=True):
    """`change_pin`."""

    old: Annotated[str, msgspec.Meta(max_length=1024)]
    new: Annotated[str, msgspec.Meta(max_length=1024)]
    enforce_policy: bool = False

    def __repr__(self) -> str:
        return "ChangePinArgument([redacted])"


class SignArgument(msgspec.Struct, frozen=True, array_like=True):
    """`sign`: one digest."""

    key_id: str
    digest_algorithm: str
    digest: Annotated[bytes, msgspec.Meta(max_length=64)]


class GenerateArgument(msgspec.Struct, frozen=True, kw_only=True):
    """`generate_key`."""

    label: Annotated[str, msgspec.Meta(max_length=255)]
    algorithm: KeyAlgorithm = KeyAlgorithm.RSA_2048
    usage: KeyUsage | None = None


class RequestArgument(msgspec.Struct, frozen=True, kw_only=True):
    """`make_request`: a certificate request for a key."""

    key_id: str
    usage: KeyUsage
    subject: tuple[tuple[str, str], ...]
    member: str | None = None
    subject_alt_name: str | None = None
    profile: str = ""


class MadeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `make_request` and `remake_request`."""

    id: str
    der: bytes
    """PKCS#10."""


class KeyItemArgument(msgspec.Struct, frozen=True, kw_only=True):
    """`delete_key`, `delete_request`, `remake_request`: a key, and one item of it."""

    key_id: str
    item: str = ""


class RenameArgument(msgspec.Struct, frozen=True, kw_only=True):
    """`rename`: the friendly name of a key, or of the token when `key_id` is empty."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    key_id: str = ""


class ImportArgument(msgspec.Struct, frozen=True, kw_only=True):
    """`import_certificate`: `member` as the certificate's profile spells it, for signing only."""

    der: Annotated[bytes, msgspec.Meta(max_length=100_000)]
    member: str | None = None
    status: CertificateStatus | None = None


class CertificateArgument(msgspec.Struct, frozen=True, kw_only=True):
    """`set_active`, `set_status`, `delete_certificate`: what is None stays as it is."""

    hash: str
    active: bool | None = None
    status: CertificateStatus | None = None


class RenewalArgument(msgspec.Struct, frozen=True, kw_only=True):
    """`set_renewal`: how far the renewal of a certificate is; replaces what was known."""

    hash: str
    renewed_by: str | None = None
    renewal_error: Annotated[str, msgspec.Meta(max_length=1000)] | None = None
    next_renewal: str | None = None


class LentKeyReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `lend_authentication_key`."""

    private_key_pkcs8_pem: bytes
    certificate_der: bytes

    def __repr__(self) -> str:
        return "LentKeyReply([redacted])"
