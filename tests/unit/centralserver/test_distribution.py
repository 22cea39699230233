"""Which versions a query asks for; the serving itself is tested over a real port."""

from __future__ import annotations

import pytest

from postroad.centralserver.distribution import requested_version


@pytest.mark.parametrize(
    ("query", "version"),
    [
        (b"", "2"),
        (b"version=6", "6"),
        (b"version=2", "2"),
        (b"a=b&version=3", "3"),
        (b"version=3&a=b", "3"),
        (b"a=b&version=4&c=d", "4"),
        (b"version=5&version=6", "5"),
        (b"version=", "2"),
        (b"version=x", "2"),
        (b"version=6x", "2"),
        (b"version=-6", "2"),
        (b"version=6.0", "2"),
        (b"Version=6", "2"),
        (b"myversion=6", "2"),
        (b"version%3D6", "2"),
        (b"version=6;a=b", "2"),
        (b"version=06", "06"),
        (b"version=0", "0"),
        (b"version=" + b"9" * 5000, "9999"),
        ("version=६".encode(), "2"),
    ],
)
def test_the_raw_query_decides(query: bytes, version: str) -> None:
    assert requested_version(query) == version
