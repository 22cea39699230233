"""Which processes make a server, and in which order they stop."""

from __future__ import annotations

from pathlib import Path

from postroad.securityserver.app import SignerProcess, children, prepare_directories
from postroad.securityserver.settings import parse_settings

SETTINGS = '[server]\nidentifier = "TEST/GOV/1/SS1"\nworkers = 2\n'


def test_who_calls_is_stopped_before_who_is_called(tmp_path: Path) -> None:
    signer = SignerProcess(run=lambda: None, module="postroad.signer.processes")
    processes = children(parse_settings(SETTINGS, home=tmp_path), signer)
    order = {child.name: child.stop_order for child in processes}
    assert [child.name for child in processes] == [
        "signer",
        "logwriter",
        "background",
        "worker-0",
        "worker-1",
    ]
    assert order["worker-0"] == order["worker-1"] < order["background"] < order["signer"]
    assert order["signer"] == order["logwriter"]


def test_shared_directories_belong_to_their_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    prepare_directories(parse_settings(SETTINGS, home=home))
    for path in home.iterdir():
        assert path.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in home.iterdir()} == {"run", "ocsp", "spool", "db"}
