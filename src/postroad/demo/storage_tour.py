"""Where everything of the demo is kept, when not in files: shown by what is found there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg

from postroad.adapters.signer_client import SignerClient
from postroad.demo.ecosystem import REGISTRY, database_names
from postroad.demo.softhsm import TOKEN_ID
from postroad.demo.steps import Shown
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroad.adapters.signer_protocol import KeyRecord
    from postroad.demo.ecosystem import Ecosystem
    from postroad.demo.layout import Party


def show_storage(ecosystem: Ecosystem) -> Iterator[Shown]:
    """What is in PostgreSQL, and which keys are in SoftHSM; nothing where neither is used."""
    if ecosystem.postgresql is not None:
        yield _show_databases(ecosystem)
    if ecosystem.hsm is not None:
        yield _show_keys(ecosystem)


def _show_databases(ecosystem: Ecosystem) -> Shown:
    tables = [(REGISTRY, "security_servers", "Security Servers")]
    for party in ecosystem.layout.cast.parties:
        conf, log, monitoring = database_names(party)
        tables.append((conf, "client", f"clients of {party.name}"))
        tables.append((log, "logrecord", f"signed records of {party.name}"))
        tables.append((monitoring, "operational_data", f"monitoring records of {party.name}"))
    findings = []
    for name, table, what in tables:
        with psycopg.connect(ecosystem.database_url(name)) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - one of four names
        if not row or not row[0]:
            raise ConfigurationError(f"the database {name} holds no {what}")
        findings.append(f"{name}: {row[0]} {what}")
    version = "" if ecosystem.postgresql is None else ecosystem.postgresql.version
    return Shown(f"Kept in PostgreSQL {version}", tuple(findings))


def _show_keys(ecosystem: Ecosystem) -> Shown:
    findings = []
    for party in ecosystem.servers:
        for key in asyncio.run(_keys_in_token(ecosystem, party)):
            issued = [each.hash[:16] for each in key.certificates]
            findings.append(f"{party.name}: {key.friendly_name}, certificate {' '.join(issued)}…")
    if not findings:
        raise ConfigurationError("no key is in SoftHSM")
    return Shown(f"Signing keys in SoftHSM, token {TOKEN_ID}", tuple(findings))


async def _keys_in_token(ecosystem: Ecosystem, party: Party) -> tuple[KeyRecord, ...]:
    signer = SignerClient(ecosystem.settings(party).signer_socket)
    try:
        infos = await signer.tokens()
    finally:
        signer.close()
    return next((info.token.keys for info in infos if info.token.id == TOKEN_ID), ())
