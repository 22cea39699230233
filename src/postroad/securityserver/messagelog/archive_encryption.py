"""For whom are archives encrypted, and are all the keys there?

Archives of one member's records are encrypted for the keys that a file names for the member, others
for the default key, and without one for our own; all are signed with our own. A key that is named
and isn't there stops all archiving, because an archive that its owner can't read is as good as
none (reference: archive-encryption-keys-config, UG-SS 11.1.7).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from postroad.adapters.openpgp import OpenPgpSecret, find_certificate, load_certificates
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.archive_plan import group_of_parts, member_of_group

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from postroad.adapters.openpgp import OpenPgpCertificate
    from postroad.identifiers import ClientId
    from postroad.securityserver.settings import Settings

OWN_KEY_FILE: Final = "own.key"
_OTHERS: Final = ("*.asc", "*.pgp", "*.gpg")
MAX_MAPPING_BYTES: Final = 4 * 1024 * 1024
_SEPARATOR: Final = re.compile(r"(?<!\\)=")
_ESCAPED: Final = re.compile(r"\\([=#\\])")


class ArchiveSealer:
    """Encrypts and signs archives."""

    def __init__(
        self,
        own: OpenPgpSecret,
        by_member: Mapping[str, Sequence[OpenPgpCertificate]],
        default: OpenPgpCertificate | None = None,
    ) -> None:
        self._own = own
        self._by_member = by_member
        self._default = [own.certificate if default is None else default]

    def recipients(self, group: str) -> Sequence[OpenPgpCertificate]:
        """Return the keys that a group's archives are encrypted for."""
        return self._by_member.get(member_of_group(group), self._default)

    def seal(self, data: bytes, group: str) -> bytes:
        """Encrypt and sign an archive of a group."""
        return self._own.seal(data, self.recipients(group))


def load_sealer(settings: Settings) -> ArchiveSealer:
    """Read all keys that a server's archives are encrypted with.

    Raises ``ConfigurationError`` (``key_not_found``, ``mlog.archiving_failed``) for any key that is
    missing, revoked or unfit.
    """
    section = settings.message_log
    directory = settings.archive_pgp_path
    own = OpenPgpSecret.load(directory / OWN_KEY_FILE)
    ring = [own.certificate, *_ring(directory)]
    default = _usable(ring, section.archive_default_encryption_key)
    by_member: dict[str, list[OpenPgpCertificate]] = {}
    if section.archive_grouping != "none" and section.archive_encryption_keys_config:
        path = settings.home_path / section.archive_encryption_keys_config
        for member, key_ids in parse_key_mapping(_text(path)).items():
            found = [_usable(ring, key_id) for key_id in key_ids]
            by_member[member] = [key for key in found if key is not None]
    return ArchiveSealer(own, by_member, default)


def seal_for(settings: Settings, data: bytes, client: ClientId) -> bytes:
    """Encrypt something for a client as its archives are; reads the keys each time.

    Raises what ``load_sealer`` raises.
    """
    return load_sealer(settings).seal(data, group_of_parts(client.member.parts))


def parse_key_mapping(text: str) -> dict[str, list[str]]:
    r"""Read lines ``member = key``; several for a member are several keys.

    >>> parse_key_mapping("# ours\nEE/GOV/1 = AB12\nEE/GOV/a\\=b = CD\nEE/GOV/1=EF\n")
    {'EE/GOV/1': ['AB12', 'EF'], 'EE/GOV/a=b': ['CD']}
    """
    mapping: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = _SEPARATOR.split(line)
        if len(parts) != 2 or not all(part.strip() for part in parts):
            raise ConfigurationError(
                f"line {number} of the key mapping must be: INSTANCE/CLASS/CODE = KEYID",
                code=FaultCode.MLOG_ARCHIVING_FAILED,
            )
        member, key_id = (_ESCAPED.sub(r"\1", part.strip()) for part in parts)
        if len(member.split("/")) != 3:
            raise ConfigurationError(
                f"line {number} of the key mapping names no member: {member!r}",
                code=FaultCode.MLOG_ARCHIVING_FAILED,
            )
        mapping.setdefault(member, []).append(key_id)
    return mapping


def _ring(directory: Path) -> list[OpenPgpCertificate]:
    files = sorted({path for pattern in _OTHERS for path in directory.glob(pattern)})
    return [certificate for path in files for certificate in load_certificates(path)]


def _usable(ring: Sequence[OpenPgpCertificate], key_id: str) -> OpenPgpCertificate | None:
    if not key_id:
        return None
    certificate = find_certificate(ring, key_id)
    certificate.check_usable()
    return certificate


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_MAPPING_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the key mapping {path} can't be read", code=FaultCode.MLOG_ARCHIVING_FAILED
        ) from error
