"""Backups of this node. Source: reference ``BackupsApiController``, ``BackupService``.

A restore replaces database, keys and settings under whoever works with them, so it is for a server
that is stopped: here it's refused with the reference's code, and the way to do it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.adapters.backups import sealing
from postroad.adapters.backups.service import BackedUp, create_backup
from postroad.adapters.logs import logger
from postroad.adapters.openpgp import is_encrypted_message
from postroad.centralserver.api.operations import Call, Download, Operation, Upload, any_of
from postroad.centralserver.api.refusals import ApiRefusal
from postroad.centralserver.api.schemas import Payload
from postroad.centralserver.backups import backed_up
from postroad.centralserver.roles import Permission
from postroad.errors import PostroadError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONTENT_TYPE: Final = "application/pgp-encrypted"


class Backup(Payload):
    """A backup that is kept on this node."""

    filename: str


class BackupArchive(Payload):
    """A backup that was made and kept elsewhere."""

    file: Upload


class BackupRestorationStatus(Payload):
    """What a restore has done besides."""

    hsm_tokens_logged_out: bool = False


class UploadQuery(msgspec.Struct, frozen=True):
    """Whether a backup of the same name is replaced."""

    ignore_warnings: bool = False


def list_backups(call: Call) -> list[Backup]:
    """All backups that are kept here, newest first."""
    kept = sealing.list_backups(_server(call).directory)
    return [Backup(filename=each.name) for each in reversed(kept)]


def add_backup(call: Call) -> Backup:
    """Make a backup; one at a time, each takes memory."""
    name = sealing.manual_name(call.node.clock.now())
    call.audited["backupFileName"] = name
    with _one_at_a_time(call):
        try:
            create_backup(_server(call), name)
        except (PostroadError, OSError) as error:
            logger("backup").error("not_backed_up", reason=str(error))
            raise ApiRefusal(500, "backup_generation_failed") from error
    return Backup(filename=name)


def upload_backup(call: Call) -> Backup:
    """Keep a backup that comes from elsewhere; it's judged when it is restored."""
    body: BackupArchive = call.body
    query: UploadQuery = call.query
    name = body.file.file_name
    call.audited["backupFileName"] = name
    try:
        path = _server(call).directory / sealing.check_name(name)
    except PostroadError as error:
        raise ApiRefusal(400, "invalid_filename", (name,)) from error
    if not is_encrypted_message(body.file.data):
        raise ApiRefusal(400, "invalid_file_content_type", (_CONTENT_TYPE,))
    with _one_at_a_time(call):
        if not query.ignore_warnings and (path.exists() or path.is_symlink()):
            raise ApiRefusal(
                400, "warnings_detected", (name,), warnings=("warning_file_already_exists",)
            )
        try:
            sealing.store_backup(path.parent, name, body.file.data, replace=True)
        except OSError as error:
            logger("backup").error("upload_not_kept", reason=str(error))
            raise ApiRefusal(500, "invalid_backup_file") from error
    return Backup(filename=name)


def download_backup(call: Call) -> Download:
    """A backup as it is: encrypted and signed."""
    path = _found(call)
    try:
        return Download(path.read_bytes(), path.name)
    except FileNotFoundError as error:  # somebody has deleted it just now
        raise _missing(path.name) from error


def delete_backup(call: Call) -> None:
    """Delete a backup."""
    _found(call).unlink(missing_ok=True)


def restore_backup(call: Call) -> BackupRestorationStatus:
    """Refuse: this server runs. Nothing is changed."""
    name = _found(call).name
    raise ApiRefusal(
        409,
        "restore_process_failed",
        (f"stop the server and run `postroad central backup restore {name}`, then start it",),
    )


def _server(call: Call) -> BackedUp:
    return backed_up(call.node.settings.home_path)


def _found(call: Call) -> Path:
    name = call.path["filename"]
    call.audited["backupFileName"] = name
    try:
        return sealing.find_backup(_server(call).directory, name)
    except PostroadError as error:
        raise _missing(name) from error


def _missing(name: str) -> ApiRefusal:
    return ApiRefusal(404, "backup_file_not_found", (name[:255],))


@contextmanager
def _one_at_a_time(call: Call) -> Iterator[None]:
    lock = call.services.backing_up
    if not lock.acquire(blocking=False):
        raise ApiRefusal(409, "backup_generation_failed", ("another backup is being written",))
    try:
        yield
    finally:
        lock.release()


_MANAGE: Final = any_of(Permission.BACKUP_CONFIGURATION)
_PATH: Final = "/backups/{filename}"
OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/backups",
        name="getBackups",
        handler=list_backups,
        needs=_MANAGE,
        answer=list[Backup],
    ),
    Operation(
        method="POST",
        path="/backups",
        name="addBackup",
        handler=add_backup,
        needs=_MANAGE,
        status=201,
        answer=Backup,
        event="Back up configuration",
    ),
    Operation(
        method="POST",
        path="/backups/upload",
        name="uploadBackup",
        handler=upload_backup,
        needs=_MANAGE,
        status=201,
        form=BackupArchive,
        query=UploadQuery,
        answer=Backup,
        event="Upload backup file",
    ),
    Operation(
        method="DELETE",
        path=_PATH,
        name="deleteBackup",
        handler=delete_backup,
        needs=_MANAGE,
        status=204,
        event="Delete backup file",
    ),
    Operation(
        method="GET",
        path=_PATH + "/download",
        name="downloadBackup",
        handler=download_backup,
        needs=_MANAGE,
        answer=Download,
    ),
    Operation(
        method="PUT",
        path=_PATH + "/restore",
        name="restoreBackup",
        handler=restore_backup,
        needs=any_of(Permission.RESTORE_CONFIGURATION),
        answer=BackupRestorationStatus,
        event="Restore configuration",
    ),
)
