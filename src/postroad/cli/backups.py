"""``backup`` below ``postroad central`` and ``postroad server``: make, check, restore backups."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroad.adapters.system_clock import SystemClock
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.adapters.backups.service import BackedUp

_PATH = click.Path(dir_okay=False, path_type=Path)
_key = click.option("--key", type=_PATH, help="Secret key that opens it, if not this server's.")
_signer = click.option("--signer", type=_PATH, help="Public key of the server that made it.")


def backup_commands(  # noqa: C901 - one function for each command
    describe: Callable[[Path], BackedUp],
    keep_days: Callable[[Path], int],
    home_option: Callable[[Callable[..., None]], Callable[..., None]],
) -> click.Group:
    """The commands for one kind of server; ``describe`` says what its home directory holds."""

    @click.group("backup")
    def backup() -> None:
        """Signed and encrypted backups: settings, keys as they are, and the database."""

    @backup.command("create")
    @click.option("--automatic", is_flag=True, help="As every day: old automatic ones are deleted.")
    @home_option
    def create(home: Path, *, automatic: bool) -> None:
        """Make a backup; the server may run meanwhile."""
        from postroad.adapters.backups import sealing, service

        server, now = describe(home), SystemClock().now()
        if automatic:
            keep = timedelta(days=keep_days(home))
            for name in service.back_up_daily(server, at=now, keep=keep):
                click.echo(f"deleted {name}")
            return
        click.echo(str(service.create_backup(server, sealing.manual_name(now))))

    @backup.command("list")
    @home_option
    def list_all(home: Path) -> None:
        """List the backups that are kept on this server."""
        from postroad.adapters.backups.sealing import list_backups

        for kept in list_backups(describe(home).directory):
            made_at = kept.modified_at.isoformat(timespec="seconds")
            click.echo(f"{kept.name}  {kept.size} bytes  {made_at}")

    @backup.command("verify")
    @click.argument("file")
    @_key
    @_signer
    @home_option
    def verify(file: str, key: Path | None, signer: Path | None, home: Path) -> None:
        """Check that a backup is whole, signed and could be restored; changes nothing."""
        from postroad.adapters.backups import service

        server = describe(home)
        opener = service.opener_of(server, key_file=key, signer_file=signer)
        contents = service.read_backup(server, _find(server, file), opener)
        click.echo(f"{contents.label}: {len(contents.files)} files and the database; it holds")

    @backup.command("delete")
    @click.argument("name")
    @home_option
    def delete(name: str, home: Path) -> None:
        """Delete a backup that is kept on this server."""
        from postroad.adapters.backups.sealing import find_backup

        find_backup(describe(home).directory, name).unlink()
        click.echo(f"deleted {name}")

    @backup.command("key")
    @home_option
    def show_key(home: Path) -> None:
        """Show the public key that signs backups. Keep a copy of the secret one elsewhere, too."""
        from postroad.adapters.backups.restoring import KEY_FILE
        from postroad.adapters.backups.sealing import ensure_key

        server = describe(home)
        click.echo(str(ensure_key(home, server.label).certificate))
        click.echo(f"the secret key is {home / KEY_FILE}, and in no backup", err=True)

    @backup.command("restore")
    @click.argument("file", required=False)
    @click.option("--force", is_flag=True, help="Even the backup of another server.")
    @click.option("--keep-settings", is_flag=True, help="Leave the settings file as it is.")
    @click.option("--finish", is_flag=True, help="Finish a restore that was interrupted.")
    @_key
    @_signer
    @home_option
    def restore(
        file: str | None,
        key: Path | None,
        signer: Path | None,
        home: Path,
        *,
        force: bool,
        keep_settings: bool,
        finish: bool,
    ) -> None:
        """Put a backup, a name or a path, in the place of what is there. Stop the server first.

        What isn't in the backup is removed, but for logs, archives and backups.
        """
        from postroad.adapters.backups import service

        server = describe(home)
        if finish:
            done = service.finish_restore(server)
            click.echo("the restore is finished" if done else "there is no restore to finish")
            return
        if file is None:
            raise ConfigurationError("name the backup to restore")
        opener = service.opener_of(server, key_file=key, signer_file=signer)
        contents = service.read_backup(server, _find(server, file), opener)
        service.restore_backup(server, contents, force=force, keep_settings=keep_settings)
        click.echo(f"restored {contents.label}; start the server")

    return backup


def _find(server: BackedUp, file: str) -> Path:
    from postroad.adapters.backups.sealing import find_backup

    return Path(file) if "/" in file else find_backup(server.directory, file)
