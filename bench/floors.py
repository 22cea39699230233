"""What do the parts of an exchange cost bare, on this machine, in this run?

Everything the benchmark says is a ratio to these: signatures and verifications of the crypto
library, commits of the database, calls to the provider without any Security Server.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

if TYPE_CHECKING:
    from collections.abc import Callable

PREHASHED = utils.Prehashed(hashes.SHA512())
DIGEST = hashlib.sha512(b"what is signed").digest()
RECORD = b"x" * 8192
"""About what one message without a body leaves in the log."""


@dataclass(frozen=True, slots=True)
class KeyCost:
    """CPU microseconds of one bare operation."""

    sign_us: float
    verify_us: float

    @property
    def pair_us(self) -> float:
        return self.sign_us + self.verify_us


def cpu_us(action: Callable[[], object], *, seconds: float = 0.4) -> float:
    """CPU time of one call, in microseconds: the median of five loops."""
    times = []
    for _ in range(5):
        count = 0
        started = time.process_time()
        until = time.perf_counter() + seconds / 5
        while time.perf_counter() < until:
            action()
            count += 1
        times.append((time.process_time() - started) / count * 1e6)
    return sorted(times)[2]


def key_cost(algorithm: str, *, seconds: float = 0.4) -> KeyCost:
    """What one signature and one verification cost with keys of ``algorithm``."""
    if algorithm == "EC-P256":
        key = ec.generate_private_key(ec.SECP256R1())
        scheme = ec.ECDSA(PREHASHED)
        signature = key.sign(DIGEST, scheme)
        public = key.public_key()
        return KeyCost(
            cpu_us(lambda: key.sign(DIGEST, scheme), seconds=seconds),
            cpu_us(lambda: public.verify(signature, DIGEST, scheme), seconds=seconds),
        )
    rsa_key = rsa.generate_private_key(65537, int(algorithm.removeprefix("RSA-")))
    pkcs1 = padding.PKCS1v15()
    value = rsa_key.sign(DIGEST, pkcs1, PREHASHED)
    rsa_public = rsa_key.public_key()
    return KeyCost(
        cpu_us(lambda: rsa_key.sign(DIGEST, pkcs1, PREHASHED), seconds=seconds),
        cpu_us(lambda: rsa_public.verify(value, DIGEST, pkcs1, PREHASHED), seconds=seconds),
    )


def sqlite_commits_per_second(directory: Path, *, seconds: float = 1.0) -> float:
    """Durable commits of one record each, one after the other."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        database = sqlite3.connect(Path(folder) / "floor.sqlite", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, data BLOB)")
        rate = _rate(
            lambda: database.execute("INSERT INTO record (data) VALUES (?)", (RECORD,)), seconds
        )
        database.close()
    return rate


def postgresql_commits_per_second(url: str, *, seconds: float = 1.0) -> float:
    """The same with PostgreSQL."""
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("CREATE TABLE record (id BIGSERIAL PRIMARY KEY, data BYTEA)")
        database.execute("ALTER TABLE record ALTER COLUMN data SET STORAGE EXTERNAL")
        return _rate(
            lambda: database.execute("INSERT INTO record (data) VALUES (%b)", (RECORD,)), seconds
        )


def _rate(action: Callable[[], object], seconds: float) -> float:
    count = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        action()
        count += 1
    return count / (time.perf_counter() - started)


def sha512_mb_per_second() -> float:
    """How fast bodies can be hashed on one core (bytes per microsecond are MB per second)."""
    data = b"x" * (4 << 20)
    return len(data) / cpu_us(lambda: hashlib.sha512(data))
