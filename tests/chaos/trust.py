"""Time-stamping, OCSP, CA and Central Server are down, slow or lie; clocks jump.

Messages must go on as long as evidence can be made in time, stop before it can't, and resume by
themselves. Whatever happens, every acknowledged message must verify in the end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from chaos.arena import Arena
from chaos.report import Skipped, require
from postroad.demo.layout import PARTIES, Party

_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
_HOUR = 3600


@contextlib.contextmanager
def _misbehaving(arena: Arena, plan: Mapping[str, Mapping[str, object]]) -> Iterator[None]:
    arena.lab(plan)
    try:
        yield
    finally:
        arena.lab(None)


def trust_services_misbehave(arena: Arena) -> dict[str, object]:
    """TSA, OCSP responder and CA are down, slow, broken, lie about time: messages go on."""
    pause = 4.0 if arena.quick else 12.0
    plans: dict[str, dict[str, dict[str, object]]] = {
        "all down": {name: {"stopped": True} for name in ("tsa", "ocsp", "ca")},
        "all slow": {name: {"delay": 5.0} for name in ("tsa", "ocsp", "ca")},
        "all broken": {"tsa": {"broken": True}, "ocsp": {"broken": True}},
        "an hour ahead": {"tsa": {"time_shift": _HOUR}, "ocsp": {"time_shift": _HOUR}},
        "an hour behind": {"tsa": {"time_shift": -_HOUR}, "ocsp": {"time_shift": -_HOUR}},
        "ocsp says unknown": {"ocsp": {"status": "unknown"}},
    }
    share: dict[str, float] = {}
    with arena.load(sizes=False) as load:
        for name, plan in plans.items():
            began = time.monotonic()
            with _misbehaving(arena, plan):
                for party in PARTIES:
                    arena.kill(party, "background")  # a new one asks for OCSP responses at once
                time.sleep(pause)
            replies = load.since(began)
            share[name] = sum(reply.status == 200 for reply in replies) / max(1, len(replies))
            require(replies, f"no replies while the trust services were {name}")
        resumed_after = arena.await_works()
        time.sleep(1)
    for name in ("all down", "all slow", "all broken"):
        require(share[name] > 0.99, f"{name}: only {share[name]:.0%} of the exchanges succeeded")
    return {"share_served": share, "resumed_after_s": resumed_after}


def stop_rule(arena: Arena) -> dict[str, object]:
    """Time-stamping fails for longer than is acceptable: exchanges stop, and resume after it."""
    acceptable = 4
    for party in PARTIES:
        arena.change_settings(
            party, message_log={"acceptable_timestamp_failure_period": acceptable}
        )
        arena.restart(party)
    try:
        with arena.load(sizes=False) as load:
            time.sleep(1)
            with _misbehaving(arena, {"tsa": {"stopped": True}}):
                began = time.monotonic()
                arena.wait(
                    lambda: any("timestamping_failed" in each.fault for each in load.since(began)),
                    "the stop rule to stop exchanges",
                )
                stopped_after = time.monotonic() - began
                time.sleep(3)  # the other server's rule, and what was under way
                before, since = arena.ledger.deliveries, time.monotonic()
                time.sleep(2)
                delivered = arena.ledger.deliveries - before
                served = sum(each.status == 200 for each in load.since(since))
            resumed_after = arena.await_works()
        require(
            not delivered and not served, f"{delivered} delivered, {served} served after the stop"
        )
        require(stopped_after >= acceptable, "stopped before the acceptable period was over")
        return {"stopped_after_s": stopped_after, "resumed_after_s": resumed_after}
    finally:
        for party in PARTIES:
            arena.change_settings(party, message_log={"acceptable_timestamp_failure_period": 14400})
            arena.restart(party)


def central_server_down(arena: Arena) -> dict[str, object]:
    """The Central Server hangs, then is gone, then comes back: messages never notice."""
    pause = 5.0 if arena.quick else 30.0
    central = arena.ecosystem.central
    with arena.load(sizes=False) as load:
        began = time.monotonic()
        with arena.stopped_processes(central.pid):
            time.sleep(pause)
        central.stop()
        time.sleep(pause)
        central.start()
        time.sleep(2)
        replies = load.since(began)
    served = sum(reply.status == 200 for reply in replies)
    require(served == len(replies) > 0, f"{len(replies) - served} of {len(replies)} were refused")
    return {"served": served}


def central_server_lies(arena: Arena) -> dict[str, object]:
    """The Central Server's clock is an hour ahead, then an hour behind: messages go on."""
    if not _FAKETIME:
        raise Skipped("libfaketime is not installed (apt-get install libfaketime)")
    pause = 5.0 if arena.quick else 30.0
    facts: dict[str, object] = {}
    with arena.load(sizes=False) as load:
        for seconds in (_HOUR, -_HOUR):
            offset = arena.layout.home / "clock-central"
            _set_clock(offset, seconds)
            began = time.monotonic()
            try:
                arena.restart_central(_faked(offset))
                time.sleep(pause)
            finally:
                arena.restart_central({})
            time.sleep(3)  # the servers fetch every second
            replies = load.since(began)
            served = sum(reply.status == 200 for reply in replies)
            facts[f"served at {seconds // _HOUR:+d} h"] = served
            refused = len(replies) - served
            require(replies and not refused, f"{refused} of {len(replies)} refused: {facts}")
    return facts


def clock_jumps(arena: Arena) -> dict[str, object]:
    """One server's clock jumps an hour ahead, back, an hour behind, back (libfaketime)."""
    if not _FAKETIME:
        raise Skipped("libfaketime is not installed (apt-get install libfaketime)")
    facts: dict[str, object] = {}
    for party in PARTIES:
        facts[party.server_code] = _jump(arena, party)
    return facts


def _jump(arena: Arena, party: Party) -> dict[str, object]:
    offset = arena.layout.home / f"clock-{party.server_code}"
    _set_clock(offset, 0)
    arena.restart(party, _faked(offset))
    seen: dict[str, object] = {}
    try:
        with arena.load(sizes=False) as load:
            for name, seconds in (("+1 h", _HOUR), ("-1 h", -_HOUR)):
                began = time.monotonic()
                _set_clock(offset, seconds)
                time.sleep(6)
                _set_clock(offset, 0)
                replies = load.since(began)
                seen[name] = {
                    "served": sum(reply.status == 200 for reply in replies),
                    "refused_with": sorted({each.fault for each in replies if each.status != 200}),
                }
                seen[f"right again after {name}, s"] = arena.await_works(120)
    finally:
        _set_clock(offset, 0)
        arena.restart(party, {})
    return seen


def _faked(offset: Path) -> dict[str, str]:
    """The environment of a process whose clock is off by what a file says."""
    return {
        "LD_PRELOAD": str(_FAKETIME[-1]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }


def _set_clock(file: Path, seconds: int) -> None:
    new = file.with_suffix(".new")
    new.write_text(f"{seconds:+d}")
    new.rename(file)


SCENARIOS = (
    trust_services_misbehave,
    stop_rule,
    central_server_down,
    central_server_lies,
    clock_jumps,
)
