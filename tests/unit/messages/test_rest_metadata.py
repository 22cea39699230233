from __future__ import annotations

from postroad.identifiers import MemberId, ServiceId, SubsystemId
from postroad.messages.rest_metadata import ListedService, encode_service_list


def test_fields_have_the_names_and_the_order_of_the_reference() -> None:
    service = ServiceId(SubsystemId("DEMO", "ORG", "200", "reg"), "people")
    listed = ListedService.of(service, [("GET", "/people/*")], is_openapi=True)
    assert encode_service_list([listed]) == (
        b'{"service":[{"member_class":"ORG","member_code":"200","subsystem_code":"reg",'
        b'"service_code":"people","endpoint_list":[{"method":"GET","path":"/people/*"}],'
        b'"object_type":"SERVICE","service_type":"OPENAPI","xroad_instance":"DEMO"}]}'
    )


def test_a_member_has_no_subsystem_and_a_service_may_have_no_endpoints() -> None:
    service = ServiceId(MemberId("DEMO", "ORG", "200"), "people")
    listed = ListedService.of(service, [], is_openapi=False)
    assert encode_service_list([listed]) == (
        b'{"service":[{"member_class":"ORG","member_code":"200","service_code":"people",'
        b'"endpoint_list":[],"object_type":"SERVICE","service_type":"REST",'
        b'"xroad_instance":"DEMO"}]}'
    )


def test_an_empty_list_is_a_list() -> None:
    assert encode_service_list([]) == b'{"service":[]}'
