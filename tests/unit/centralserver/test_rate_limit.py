"""How often one source may ask."""

from __future__ import annotations

from postroad.centralserver import rate_limit
from postroad.centralserver.rate_limit import RateLimit


def test_sources_do_not_count_against_each_other() -> None:
    limit = RateLimit(1)
    assert [limit.admit(address, 0.0) for address in ("192.0.2.1", "192.0.2.2")] == [True, True]
    assert not limit.admit("192.0.2.1", 59.9)
    assert limit.admit("192.0.2.1", 60.0)


def test_refused_requests_do_not_prolong_the_wait() -> None:
    limit = RateLimit(1)
    limit.admit("192.0.2.1", 0.0)
    for at in range(1, 60):
        assert not limit.admit("192.0.2.1", float(at))
    assert limit.admit("192.0.2.1", 60.0)


def test_an_ipv6_subscriber_is_one_source() -> None:
    limit = RateLimit(1)
    assert limit.admit("2001:db8::1", 0.0)
    assert not limit.admit("2001:db8::ffff:2", 0.0)
    assert limit.admit("2001:db8:0:1::1", 0.0)


def test_mapped_addresses_are_those_of_ipv4() -> None:
    limit = RateLimit(1)
    assert limit.admit("::ffff:192.0.2.1", 0.0)
    assert not limit.admit("192.0.2.1", 0.0)
    assert limit.admit("::ffff:192.0.2.2", 0.0)


def test_what_is_no_address_is_a_source_too() -> None:
    limit = RateLimit(1)
    assert [limit.admit("", 0.0), limit.admit("", 0.0)] == [True, False]


def test_memory_is_bounded() -> None:
    limit = RateLimit(1)
    for number in range(rate_limit.MAX_SOURCES + 10):
        limit.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert len(limit._sources) == rate_limit.MAX_SOURCES
