from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroad.securityserver.opmonitoring.protocol import QueryArgument
from postroad.securityserver.opmonitoring.record import (
    COLUMNS,
    JSON_NAMES,
    OperationalRecord,
    clean,
    json_fields,
)
from postroad.securityserver.opmonitoring.store import OperationalStore

OURS = ("TEST", "COM", "1", "app")
OWNER = ("TEST", "COM", "1")
THEIRS = ("TEST", "GOV", "2", "reg")
OTHERS = ("TEST", "GOV", "3", "tax")


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OperationalStore]:
    url = f"sqlite:///{tmp_path / 'db' / 'opmonitor.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_server").create_database()
    made = OperationalStore(url)
    yield made
    made.close()


def record(
    message_id: str, client: tuple[str, ...] = OURS, provider: tuple[str, ...] = THEIRS
) -> OperationalRecord:
    made = OperationalRecord(message_id=message_id, security_server_internal_ip="10.0.0.5")
    for side, parts in (("client", client), ("service", provider)):
        for name, part in zip(
            ("xroad_instance", "member_class", "member_code", "subsystem_code"), parts, strict=False
        ):
            setattr(made, f"{side}_{name}", part)
    return made


def ids(store: OperationalStore, question: QueryArgument, limit: int = 100) -> list[object]:
    page = store.find(question, limit)
    return [row[page.columns.index("message_id")] for row in page.rows]


def test_every_field_comes_back_as_it_was_stored(store: OperationalStore) -> None:
    values = {
        name: index if default is None and not name.endswith("_string") else default
        for index, (name, default) in enumerate(
            (name, getattr(OperationalRecord(), name)) for name in COLUMNS
        )
    }
    numbers = ("_ts", "_size", "_count")
    made = OperationalRecord(
        **{
            name: value
            if name.endswith(numbers) or name in {"succeeded", "status_code"}
            else str(value)
            for name, value in values.items()
        }
    )
    assert store.add([made], 77) == 0
    page = store.find(QueryArgument(77, 77), 10)
    assert page.columns == COLUMNS
    assert page.rows == [tuple(getattr(made, name) for name in COLUMNS)]
    assert made.monitoring_data_ts == 77


def test_absent_values_are_left_out_and_success_is_a_truth_value() -> None:
    assert json_fields(("message_id", "succeeded", "rest_path"), ("a", 0, None)) == {
        "messageId": "a",
        "succeeded": False,
    }


def test_field_names_are_those_of_the_protocol() -> None:
    assert JSON_NAMES["client_xroad_instance"] == "clientXRoadInstance"
    assert JSON_NAMES["x_request_id"] == "xRequestId"
    assert JSON_NAMES["x_road_version"] == "xRoadVersion"
    assert JSON_NAMES["monitoring_data_ts"] == "monitoringDataTs"
    assert len(set(JSON_NAMES.values())) == 40


def test_others_get_their_own_exchanges_only_and_no_inner_address(store: OperationalStore) -> None:
    store.add(
        [
            record("as client"),
            record("as provider", OTHERS, OURS),
            record("not ours", OTHERS, THEIRS),
            record("of the member", OWNER, THEIRS),
        ],
        10,
    )
    everything = QueryArgument(0, 20)
    assert ids(store, everything) == ["as client", "as provider", "not ours", "of the member"]
    assert ids(store, QueryArgument(0, 20, client=OURS)) == ["as client", "as provider"]
    assert ids(store, QueryArgument(0, 20, client=OWNER)) == ["of the member"]
    page = store.find(QueryArgument(0, 20, client=OURS), 10)
    assert "security_server_internal_ip" not in page.columns
    page = store.find(
        QueryArgument(0, 20, client=OURS, columns=("security_server_internal_ip",)), 10
    )
    assert page.columns == ("monitoring_data_ts",)


def test_the_filter_by_provider_adds_to_the_filter_by_client(store: OperationalStore) -> None:
    store.add([record("1"), record("2", OTHERS, THEIRS), record("3", OURS, OTHERS)], 10)
    assert ids(store, QueryArgument(0, 20, provider=THEIRS)) == ["1", "2"]
    assert ids(store, QueryArgument(0, 20, client=OURS, provider=THEIRS)) == ["1"]
    assert ids(store, QueryArgument(0, 20, provider=THEIRS[:3])) == []


def test_a_page_ends_with_the_last_record_of_a_second(store: OperationalStore) -> None:
    for second, names in ((10, "ab"), (11, "cde"), (12, "f")):
        store.add([record(name) for name in names], second)
    page = store.find(QueryArgument(0, 20), 3)
    assert [row[page.columns.index("message_id")] for row in page.rows] == list("abcde")
    assert page.next_from == 12
    assert store.find(QueryArgument(0, 11), 3).next_from is None
    assert store.find(QueryArgument(12, 20), 3).next_from is None
    assert ids(store, QueryArgument(12, 20)) == ["f"]


def test_both_ends_of_the_interval_belong_to_it(store: OperationalStore) -> None:
    for second in (9, 10, 11, 12):
        store.add([record(str(second))], second)
    assert ids(store, QueryArgument(10, 11)) == ["10", "11"]


def test_old_records_are_removed(store: OperationalStore) -> None:
    for second in (9, 10, 11):
        store.add([record(str(second))], second)
    assert store.remove_before(10) == 1
    assert ids(store, QueryArgument(0, 20)) == ["10", "11"]


def test_hostile_texts_are_stored_cut_and_without_what_no_database_takes(
    store: OperationalStore,
) -> None:
    hostile = record("x" * 300)
    hostile.client_member_code = "a\0b"
    hostile.message_user_id = "a\ud800b"
    hostile.fault_string = "ö" * 3000
    hostile.message_issue = "'; DROP TABLE operational_data; --"
    clean(hostile)
    assert store.add([hostile], 10) == 0
    page = store.find(QueryArgument(0, 20), 10)
    found = json_fields(page.columns, page.rows[0])
    assert found["messageId"] == "x" * 255
    assert found["clientMemberCode"] == "ab"
    assert found["messageUserId"] == "a?b"
    assert found["faultString"] == "ö" * 2048
    assert found["messageIssue"] == "'; DROP TABLE operational_data; --"


def test_one_bad_record_does_not_keep_the_others_out(store: OperationalStore) -> None:
    bad = record("bad")
    bad.request_size = 1 << 80
    assert store.add([record("a"), bad, record("b")], 10) == 1
    assert ids(store, QueryArgument(0, 20)) == ["a", "b"]
