from __future__ import annotations

import uuid

from postroad.adapters.random_ids import new_uuid


def test_an_identifier_is_a_random_uuid_in_its_usual_form() -> None:
    for _ in range(1000):
        text = new_uuid()
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


def test_identifiers_use_all_random_bits() -> None:
    seen = [uuid.UUID(new_uuid()).int for _ in range(500)]
    assert len(set(seen)) == len(seen)
    ones, zeros = 0, (1 << 128) - 1
    for value in seen:
        ones |= value
        zeros &= value
    assert (ones ^ zeros).bit_count() == 122  # all but version and variant
