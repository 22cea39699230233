"""Members, subsystems, servers, groups and the search over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.centralserver.roles import Role
from support.central_server import OTHER_SERVER, SERVER, auth_certificate

if TYPE_CHECKING:
    from support.management_api import ManagementApi

REGISTRATION = Role.REGISTRATION_OFFICER


def test_member_classes_come_change_and_go(api: ManagementApi) -> None:
    new = {"code": "COM", "description": "Companies"}
    assert api.ask("POST", "/member-classes", json=new, status=201) == new
    assert api.refusal("POST", "/member-classes", json=new) == (409, "member_class_exists")
    changed = api.ask("PATCH", "/member-classes/COM", json={"description": "Firms"})
    assert changed == {"code": "COM", "description": "Firms"}
    api.ask("DELETE", "/member-classes/COM", status=204)
    assert [row["code"] for row in api.ask("GET", "/member-classes")] == ["GOV"]
    assert api.refusal("DELETE", "/member-classes/COM") == (404, "member_class_not_found")
    assert api.refusal("DELETE", "/member-classes/GOV") == (409, "member_class_is_in_use")
    events = [line["event"] for line in api.audit_lines]
    assert events == [
        "Add member class",
        "Add member class failed",
        "Edit member class description",
        "Delete member class",
        "Delete member class failed",
        "Delete member class failed",
    ]


def test_a_member_comes_changes_and_goes(api: ManagementApi) -> None:
    body = {"member_id": {"member_class": "GOV", "member_code": "3"}, "member_name": "Third"}
    added = api.ask("POST", "/members", REGISTRATION, json=body, status=201)
    assert added == {
        "client_id": {
            "instance_id": "DEV",
            "type": "MEMBER",
            "member_class": "GOV",
            "member_code": "3",
            "encoded_id": "DEV:GOV:3",
        },
        "member_name": "Third",
    }
    assert api.refusal("POST", "/members", json=body) == (409, "member_exists")
    assert api.ask("PATCH", "/members/DEV:GOV:3", json={"member_name": "Else"})["member_name"]
    assert api.ask("GET", "/members/DEV:GOV:3")["member_name"] == "Else"
    api.ask("DELETE", "/members/DEV:GOV:3", status=204)
    assert api.refusal("GET", "/members/DEV:GOV:3") == (404, "member_not_found")
    assert api.refusal("GET", "/members/DEV:GOV:3:x") == (400, "invalid_member_id")


def test_what_a_member_has(api: ManagementApi) -> None:
    (subsystem,) = api.ask("GET", "/members/DEV:GOV:2/subsystems")
    assert subsystem["subsystem_id"]["encoded_id"] == "DEV:GOV:2:client"
    assert subsystem["used_security_servers"] == [
        {
            "encoded_id": "DEV:GOV:2:SS2",
            "server_code": "SS2",
            "server_owner": "Member 2",
            "status": "APPROVED",
        }
    ]
    (group,) = api.ask("GET", "/members/DEV:GOV:2/global-groups")
    assert group["group_code"] == "security-server-owners"
    (server,) = api.ask("GET", "/members/DEV:GOV:2/owned-servers")
    assert server["server_id"]["encoded_id"] == "DEV:GOV:2:SS2"
    assert api.ask("GET", "/members/DEV:GOV:2/used-servers") == []


def test_a_subsystem_comes_changes_and_goes(api: ManagementApi) -> None:
    identifier = {"member_class": "GOV", "member_code": "2", "subsystem_code": "new"}
    body = {"subsystem_id": identifier, "subsystem_name": "New one"}
    added = api.ask("POST", "/subsystems", json=body, status=201)
    assert added["subsystem_name"] == "New one"
    path = "/subsystems/DEV:GOV:2:new"
    assert "subsystem_name" not in api.ask("PATCH", path, json={"subsystem_name": ""})
    api.ask("DELETE", path, status=204)
    assert api.refusal("DELETE", path) == (404, "subsystem_not_found")
    assert api.refusal("DELETE", "/subsystems/DEV:GOV:2") == (400, "invalid_subsystem_id")


def test_a_registered_subsystem_is_unregistered_first(api: ManagementApi) -> None:
    path = "/subsystems/DEV:GOV:2:client"
    code = "subsystem_registered_and_cannot_be_deleted"
    assert api.refusal("DELETE", path) == (409, code)
    api.ask("DELETE", f"{path}/servers/DEV:GOV:2:SS2", status=204)
    again = api.refusal("DELETE", f"{path}/servers/DEV:GOV:2:SS2")
    assert again == (404, "subsystem_not_registered_to_security_server")
    api.ask("DELETE", path, status=204)


def test_a_member_without_registration_can_not_be_unregistered(api: ManagementApi) -> None:
    refused = api.refusal("DELETE", "/members/DEV:GOV:1/servers/DEV:GOV:2:SS2")
    assert refused == (404, "member_not_registered_to_security_server")


def test_clients_are_searched_sorted_and_paged(api: ManagementApi) -> None:
    def found(query: str) -> list[str]:
        page = api.ask("GET", f"/clients?{query}", Role.SECURITY_OFFICER)
        assert page["paging_metadata"]["items"] == len(page["clients"])
        return [client["client_id"]["encoded_id"] for client in page["clients"]]

    everybody = ["DEV:GOV:1", "DEV:GOV:1:MANAGEMENT", "DEV:GOV:2", "DEV:GOV:2:client"]
    assert found("") == everybody
    assert found("q=&name=") == everybody
    assert found("q=CLIENT") == ["DEV:GOV:2:client"]
    assert found("client_type=MEMBER&sort=member_name&desc=true") == ["DEV:GOV:2", "DEV:GOV:1"]
    assert found("clientType=SUBSYSTEM") == ["DEV:GOV:1:MANAGEMENT", "DEV:GOV:2:client"]
    assert found("member_code=1&limit=1&offset=1") == ["DEV:GOV:1:MANAGEMENT"]
    assert found("security_server=DEV:GOV:2:SS2") == ["DEV:GOV:2:client"]
    assert "DEV:GOV:1" not in found("excluding_group=security-server-owners")
    assert found("limit=-1") == everybody
    page = api.ask("GET", "/clients?limit=3")["paging_metadata"]
    assert page == {"total_items": 4, "items": 3, "limit": 3, "offset": 0}


def test_a_page_that_can_not_be_is_refused(api: ManagementApi) -> None:
    assert api.refusal("GET", "/clients?sort=password")[1] == "invalid_sort_properties"
    assert api.refusal("GET", "/clients?limit=0")[1] == "invalid_pagination_properties"
    for query in ("limit=-2", "limit=10001", "offset=-1", "limit=x", "desc=perhaps"):
        assert api.refusal("GET", f"/clients?{query}") == (400, "validation_failure")


def test_security_servers_are_found_and_changed(api: ManagementApi) -> None:
    page = api.ask("GET", "/security-servers?sort=server_id.server_code&desc=true")
    codes = [item["server_id"]["server_code"] for item in page["items"]]
    assert codes == ["SS2", "SS1"]
    assert api.ask("GET", "/security-servers?q=member%201")["paging_metadata"]["total_items"] == 1
    path = "/security-servers/DEV:GOV:2:SS2"
    changed = api.ask("PATCH", path, json={"server_address": "new.example"})
    assert changed["server_address"] == "new.example"
    assert api.ask("GET", path) == changed
    (client,) = api.ask("GET", f"{path}/clients")
    assert client["client_id"]["encoded_id"] == "DEV:GOV:2:client"
    bad = api.refusal("PATCH", path, json={"server_address": "no address"})
    assert bad == (400, "validation_failure")


def test_an_authentication_certificate_is_shown_and_removed(api: ManagementApi) -> None:
    path = "/security-servers/DEV:GOV:2:SS2/authentication-certificates"
    (shown,) = api.ask("GET", path)
    assert shown["id"] > 0
    assert shown["public_key_algorithm"] in {"RSA", "EC"}
    assert "DIGITAL_SIGNATURE" in shown["key_usages"]
    other = f"/security-servers/DEV:GOV:1:SS1/authentication-certificates/{shown['id']}"
    assert api.refusal("DELETE", other) == (404, "ss_auth_certificate_not_found")
    api.ask("DELETE", f"{path}/{shown['id']}", status=204)
    assert api.ask("GET", path) == []


def test_a_deleted_server_is_gone(api: ManagementApi) -> None:
    api.ask("DELETE", f"/security-servers/{':'.join(OTHER_SERVER.parts)}", status=204)
    refused = api.refusal("GET", "/security-servers/DEV:GOV:2:SS2")
    assert refused == (404, "security_server_not_found")
    assert api.ask("GET", f"/security-servers/{':'.join(SERVER.parts)}")
    assert auth_certificate(SERVER)


def test_a_group_and_its_members(api: ManagementApi) -> None:
    new = {"code": "partners", "description": "Partners"}
    added = api.ask("POST", "/global-groups", json=new, status=201)
    assert (added["code"], added["member_count"]) == ("partners", 0)
    assert api.refusal("POST", "/global-groups", json=new) == (409, "global_group_exists")
    path = "/global-groups/partners"
    items = {"items": ["DEV:GOV:1", "DEV:GOV:2:client", "ABROAD:GOV:9"]}
    assert api.ask("POST", f"{path}/members/add", json=items, status=201) == items
    assert api.ask("POST", f"{path}/members/add", json=items, status=201) == {"items": []}
    assert api.ask("GET", path)["member_count"] == 3
    model = api.ask("GET", f"{path}/members/filter-model")
    assert model["instances"] == ["ABROAD", "DEV"]
    assert model["subsystems"] == ["client"]

    def found(**wanted: object) -> list[str]:
        page = api.ask("POST", f"{path}/members", json=wanted)
        return [item["client_id"]["encoded_id"] for item in page["items"]]

    assert len(found()) == 3
    assert found(types=["SUBSYSTEM"]) == ["DEV:GOV:2:client"]
    assert found(instance="ABROAD") == ["ABROAD:GOV:9"]
    assert found(query="member 1") == ["DEV:GOV:1"]
    assert found(codes=["9", "1"], paging_sorting={"sort": "code", "desc": True}) == [
        "ABROAD:GOV:9",
        "DEV:GOV:1",
    ]
    api.ask("DELETE", f"{path}/members/DEV:GOV:1", status=204)
    refused = api.refusal("DELETE", f"{path}/members/DEV:GOV:1")
    assert refused == (404, "global_group_member_not_found")
    changed = api.ask("PATCH", path, json={"description": "Friends"})
    assert changed["description"] == "Friends"
    api.ask("DELETE", path, status=204)
    assert [row["code"] for row in api.ask("GET", "/global-groups")] == ["security-server-owners"]


def test_nobody_edits_the_owners_group(api: ManagementApi) -> None:
    path = "/global-groups/security-server-owners"
    added = api.refusal("POST", f"{path}/members/add", json={"items": ["DEV:GOV:2:client"]})
    assert added == (400, "cannot_add_member_to_owners_group")
    removed = api.refusal("DELETE", f"{path}/members/DEV:GOV:1")
    assert removed == (400, "owners_global_group_member_cannot_be_deleted")
    assert api.refusal("DELETE", path) == (400, "owners_global_group_cannot_be_deleted")
