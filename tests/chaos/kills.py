"""``kill -9`` of every process of both servers, at random moments under load."""

from __future__ import annotations

import statistics
import time
from collections import Counter

from chaos.arena import Arena
from chaos.report import require
from postroad.demo.layout import PARTIES

_EVERY_ALL = 10
"""In every so many rounds all processes of both servers die at once."""


def kill_rounds(arena: Arena) -> dict[str, object]:
    """Signer, log writer, workers, background, supervisor die one at a time and all together."""
    rounds = 10 if arena.quick else 200
    killed: Counter[str] = Counter()
    recoveries: list[float] = []
    names = sorted({name for party in PARTIES for name in arena.children(party)})
    victims = [(party, name) for name in names for party in PARTIES]
    arena.chance.shuffle(victims)
    with arena.load() as load:
        for number in range(rounds):
            time.sleep(arena.chance.uniform(0.1, 1.0))
            if number % _EVERY_ALL == _EVERY_ALL - 1:
                arena.kill_all()
                killed["all"] += 1
            else:
                party, name = victims[number % len(victims)]
                if arena.kill(party, name):
                    killed[name] += 1
            # A background process or one of two workers may be missed by nobody at once.
            recoveries.append(arena.await_works())
            if number % 20 == 19:
                arena.say(f"    {number + 1} rounds, {arena.ledger.acknowledgements} acknowledged")
        time.sleep(1.0)
    require(load.replies, "no consumer got any reply")
    good = sum(reply.status == 200 for _, reply in load.replies)
    require(good > rounds, f"only {good} exchanges succeeded in {rounds} rounds")
    return {
        "rounds": rounds,
        "killed": dict(killed),
        "recovery_median_s": statistics.median(recoveries),
        "recovery_max_s": max(recoveries),
    }


SCENARIOS = (kill_rounds,)
