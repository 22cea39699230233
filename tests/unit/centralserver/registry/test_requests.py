from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.centralserver.registry import requests
from support.central_server import CLIENT, NOW, OTHER_SERVER

if TYPE_CHECKING:
    from support.central_server import Registry


def test_requests_of_the_centre_name_server_client_and_moment(filled: Registry) -> None:
    with filled.changing() as change:
        requests.add_client_deletion(change, OTHER_SERVER, CLIENT, comments="why")
        requests.add_auth_certificate_deletion(change, OTHER_SERVER, b"der")
        change.session.flush()
        newest, older = requests.list_requests(change.session)
        assert newest.auth_certificate == b"der"
        assert older.comments == "why"
        assert older.created_at == NOW
        assert (older.server_instance, older.server_member_class) == ("DEV", "GOV")
        assert (older.server_member_code, older.server_code) == ("2", "SS2")
        assert (older.client_instance, older.client_member_class) == ("DEV", "GOV")
        assert (older.client_member_code, older.client_subsystem_code) == ("2", "client")
        assert requests.list_requests(change.session, limit=1) == [newest]
