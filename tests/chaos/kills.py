"""``kill -9`` of every process of the ecosystem, at random moments under load."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import cycle

from chaos import archives
from chaos.arena import Arena
from chaos.report import require
from postroad.demo.layout import PARTIES, Party

_EVERY_ALL = 10
"""In every so many rounds all processes of all servers die at once."""
Victim = tuple[str, Callable[[], bool]]


def kill_rounds(arena: Arena) -> dict[str, object]:
    """Every process of every server dies, one at a time and all together; archives are written."""
    rounds = 24 if arena.quick else 200
    killed: Counter[str] = Counter()
    recoveries: list[float] = []
    victims = _victims(arena)
    arena.chance.shuffle(victims)
    next_victim = cycle(victims)
    with arena.load() as load:
        for number in range(rounds):
            time.sleep(arena.chance.uniform(0.1, 1.0))
            if number % _EVERY_ALL == _EVERY_ALL - 1:
                arena.kill_all()
                killed["all"] += 1
            else:
                name, kill = next(next_victim)
                killed[name] += kill()
            # A background process or one of two workers may be missed by nobody at once.
            recoveries.append(arena.await_works())
            arena.await_whole()
            if number % 20 == 19:
                arena.say(f"    {number + 1} rounds, {arena.ledger.acknowledgements} acknowledged")
        time.sleep(1.0)
    require(load.replies, "no consumer got any reply")
    good = sum(reply.status == 200 for _, reply in load.replies)
    require(good > rounds, f"only {good} exchanges succeeded in {rounds} rounds")
    arena.await_stamped()
    return {
        "rounds": rounds,
        "killed": dict(sorted(killed.items())),
        "recovery_median_s": statistics.median(recoveries),
        "recovery_max_s": max(recoveries),
        "archived": {party.server_code: _archived(arena, party) for party in PARTIES},
        "databases_whole": _sound_databases(arena),
        "monitored": {party.server_code: arena.await_monitored(party) for party in PARTIES},
    }


def _victims(arena: Arena) -> list[Victim]:
    found: list[Victim] = [("central", arena.kill_central)]
    found += [("archiver", partial(_kill_archiver, arena, party)) for party in PARTIES]
    for party in arena.servers:
        whose = "" if party in PARTIES else f"{party.server_code} "
        found += [
            (f"{whose}{name}", partial(arena.kill, party, name)) for name in arena.children(party)
        ]
    return found


def _kill_archiver(arena: Arena, party: Party) -> bool:
    """Kill a process that archives, at a random moment; whether it was still at it."""
    process = archives.begin(arena.layout.server_home(party))
    time.sleep(arena.chance.uniform(0.3, 2.0))
    process.kill()
    return process.wait() < 0


def _archived(arena: Arena, party: Party) -> dict[str, int]:
    settings = arena.ecosystem.settings(party)
    home = arena.layout.server_home(party)
    return archives.complete(home, settings.archive_path, settings.globalconf_path)


def _sound_databases(arena: Arena) -> int:
    """How many SQLite databases there are; all of them are whole."""
    paths = sorted(arena.layout.home.rglob("*.sqlite"))
    for path in paths:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as database:
            (told,) = database.execute("PRAGMA quick_check").fetchone()
        require(told == "ok", f"{path}: {told}")
    return len(paths)


SCENARIOS = (kill_rounds,)
