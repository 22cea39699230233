from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from postroad.centralserver.registry import members, requests
from postroad.centralserver.registry.request_search import (
    SORT_KEYS,
    WantedRequests,
    search_requests,
)
from postroad.identifiers import MemberId, SubsystemId
from support.central_server import CLIENT, OTHER_SERVER, SERVER

if TYPE_CHECKING:
    from support.central_server import Registry

FOREIGN = SubsystemId("FAR", "GOV", "2", "client")


@pytest.fixture
def asked(filled: Registry) -> Registry:
    """Five requests: 1 and 4 about client, 2 and 5 certificates, 3 about one of elsewhere."""
    with filled.changing() as change:
        requests.add_client_deletion(change, OTHER_SERVER, CLIENT)
        requests.add_auth_certificate_deletion(change, SERVER, b"a")
        requests.add_client_deletion(change, OTHER_SERVER, FOREIGN)
        change.session.flush()
        requests.add_client_deletion(change, OTHER_SERVER, CLIENT)
        requests.add_auth_certificate_deletion(change, SERVER, b"b").status = "WAITING"
    return filled


def ids(registry: Registry, **wanted: Any) -> list[int]:
    with registry.reading() as session:
        found, total = search_requests(session, WantedRequests(**wanted))
    if "limit" not in wanted:
        assert total == len(found)
    return [each.row.id for each in found]


def test_all_of_them_come_in_their_order(asked: Registry) -> None:
    assert ids(asked) == [1, 2, 3, 4, 5]
    assert ids(asked, descending=True) == [5, 4, 3, 2, 1]


def test_pages_do_not_overlap_and_count_everything(asked: Registry) -> None:
    assert ids(asked, limit=2) == [1, 2]
    assert ids(asked, limit=2, skip=2) == [3, 4]
    assert ids(asked, limit=2, skip=4) == [5]
    assert ids(asked, limit=2, skip=9) == []
    with asked.reading() as session:
        assert search_requests(session, WantedRequests(limit=2, skip=4))[1] == 5


def test_a_page_loads_its_own_rows_and_asks_no_more_for_more_of_them(asked: Registry) -> None:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(asked.engine, "before_cursor_execute", note)
    ids(asked, limit=1)
    few = len(statements)
    statements.clear()
    ids(asked, limit=5)
    event.remove(asked.engine, "before_cursor_execute", note)
    assert len(statements) == few
    assert any("LIMIT" in each for each in statements)


def test_each_filter_leaves_the_others_out(asked: Registry) -> None:
    assert ids(asked, types=("AuthCertDeletionRequest",)) == [2, 5]
    assert ids(asked, status="WAITING") == [5]
    assert ids(asked, server=OTHER_SERVER) == [1, 3, 4]
    assert ids(asked, origin="CENTER") == [1, 2, 3, 4, 5]
    assert ids(asked, origin="SECURITY_SERVER") == []


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("ss1", [2, 5]),
        ("gov:2:ss2", [1, 3, 4]),
        ("FAR:gov:2:CLIENT", [3]),
        ("wait", [5]),
        ("3", [3]),
        ("%", []),
        ("_", []),
        ("\\", []),
        ("'; DROP TABLE management_requests; --", []),
    ],
)
def test_a_term_is_a_text_and_no_pattern(asked: Registry, term: str, found: list[int]) -> None:
    assert ids(asked, term=term) == found


def test_a_term_finds_types_by_the_names_that_people_see(asked: Registry) -> None:
    assert ids(asked, term="cert_del", term_types=("AuthCertDeletionRequest",)) == [2, 5]


def test_names_are_those_of_today_and_of_our_own_members(asked: Registry) -> None:
    with asked.changing() as change:
        members.rename_member(change, MemberId("DEV", "GOV", "2"), "Örebro")
    assert ids(asked, term="Örebro") == [1, 3, 4]
    with asked.reading() as session:
        found, _total = search_requests(session, WantedRequests())
    assert [each.owner_name for each in found[1:3]] == [found[1].owner_name, "Örebro"]
    assert [each.client_owner_name for each in found] == ["Örebro", None, None, "Örebro", None]


@pytest.mark.parametrize("key", SORT_KEYS)
def test_every_key_sorts_and_ids_decide_among_equals(asked: Registry, key: str) -> None:
    with asked.changing() as change:
        members.rename_member(change, SERVER.owner, "zoo")
        members.rename_member(change, OTHER_SERVER.owner, "Ark")
    orders = {
        "type": [2, 5, 1, 3, 4],
        "security_server_id": [2, 5, 1, 3, 4],
        "security_server_owner": [1, 3, 4, 2, 5],
    }
    assert ids(asked, sort=key) == orders.get(key, [1, 2, 3, 4, 5])
