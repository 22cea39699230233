"""Archives that are written while their writer is killed: nothing in them may be lost or torn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from chaos.report import require

_SECONDS = 900


def begin(home: Path) -> subprocess.Popen[bytes]:
    """Begin to archive a server's message log, in a process to be killed."""
    return subprocess.Popen(
        _command("server", "archive", "now", "--json", "--home", str(home)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def complete(home: Path, archives: Path, globalconf: Path) -> dict[str, int]:
    """Archive all that is left, then judge every archive; how many there are, and containers."""
    archived = _json("server", "archive", "now", "--json", "--home", str(home))
    require(not archived["error"], f"archiving failed: {archived['error']}")
    require(not archived["damaged"], f"damaged records: {archived['damaged']}")
    state = _json("server", "archive", "status", "--json", "--home", str(home))
    require(not state["waiting_records"], f"{state['waiting_records']} records are in no archive")
    require(not state["unfinished_archives"], f"unfinished: {state['unfinished_archives']}")
    ends = [f"--last={chain['last_digest']}" for chain in state["chains"]]
    judged = _json("archive", "verify", str(archives), "--conf", str(globalconf), "--json", *ends)
    wrong = [each for each in judged["archives"] if each["verdict"] != "valid"]
    require(not wrong and not judged["problems"], f"archives: {wrong[:3]} {judged['problems']}")
    containers = sum(each["containers"] for each in judged["archives"])
    verified = sum(each["verified"] for each in judged["archives"])
    require(containers == verified, f"{verified} of {containers} archived containers verified")
    return {"archives": len(judged["archives"]), "containers": containers}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "postroad", *arguments]


def _json(*arguments: str) -> dict[str, Any]:
    ran = subprocess.run(_command(*arguments), capture_output=True, check=False, timeout=_SECONDS)
    require(ran.stdout, f"{arguments[:3]} said nothing: {ran.stderr[-500:]!r}")
    told: dict[str, Any] = json.loads(ran.stdout)
    return told
