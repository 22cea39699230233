"""How are the records of a message id found, without every message paying for it?

Message ids come in no order at all: an index kept with each record would write a page of its own
for each. So ``query_index`` is kept later, many records at a time and in its own order; searches
look through the records that aren't listed yet (see ``reading``). Nothing is lost in a crash: the
database says up to which record the index goes, and the rest is found again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from postroad.securityserver.messagelog.records import LISTED_STATE, listed_up_to, query_hash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postroad.securityserver.messagelog.database import LogDatabase

_LIST: Final = """
    INSERT INTO query_index (queryhash, logrecord_id) VALUES (?, ?) ON CONFLICT DO NOTHING
"""
_LISTED: Final = "SELECT value FROM log_state WHERE name = ?"
_SET_LISTED: Final = """
    INSERT INTO log_state (name, value) VALUES (?, ?)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
_NOT_LISTED: Final = "SELECT id, queryid FROM logrecord WHERE id > ? ORDER BY id LIMIT ?"
AT_ONCE: Final = 10_000
"""Records of a former process that are put into the index in one transaction."""


class QueryIndex:
    """Keeps the index for searches, for the one process that writes the log."""

    def __init__(self, database: LogDatabase) -> None:
        self._database = database
        self._missing: list[tuple[int, int]] = []
        """Query hash and number of the records that the index doesn't have."""
        self._round: list[tuple[int, int]] = []
        """Those that are being listed now, in the order of the index, the last first."""
        self._round_ends = 0
        self._is_in_doubt = True

    @property
    def missing(self) -> int:
        """How many records the index doesn't have yet."""
        return len(self._missing) + len(self._round)

    def stored(self, records: Iterable[tuple[str, int]]) -> None:
        """Take note of records, message id and number, once they have been committed."""
        self._missing += [(query_hash(query_id), record_id) for query_id, record_id in records]

    def doubt(self) -> None:
        """A commit has failed: perhaps its records are there all the same."""
        self._is_in_doubt = True

    def settle(self) -> None:
        """If there is a doubt, as there is at the start, look which records aren't listed."""
        if not self._is_in_doubt:
            return
        self._missing, self._round = [], []
        while True:
            state = self._database.rows(_LISTED, (LISTED_STATE,))
            listed = listed_up_to(cast("bytes", state[0][0]) if state else None)
            found = self._database.rows(_NOT_LISTED, (listed, AT_ONCE))
            self.stored((cast("str", row[1]), cast("int", row[0])) for row in found)
            if len(found) < AT_ONCE:
                break
            self.list(AT_ONCE)
        self._is_in_doubt = False

    def list_at_once(self, records: Iterable[tuple[str, int]]) -> None:
        """List records inside the transaction that stores them.

        For those whose number was taken long before: later ones may have been listed already.
        """
        entries = [(query_hash(query_id), record_id) for query_id, record_id in records]
        self._database.change_many(_LIST, entries)

    def list(self, at_most: int) -> int:
        """List some records in one transaction; return how many are left of this round.

        A round takes all that there are when it begins, in the order of the index: the more they
        are, the fewer pages there are to write for each.
        """
        if not self._round:
            self._round_ends = max((record_id for _, record_id in self._missing), default=0)
            self._round, self._missing = sorted(self._missing, reverse=True), []
        part = self._round[-at_most:]
        if not part:
            return 0
        with self._database.transaction():
            self._database.change_many(_LIST, part[::-1])
            if len(part) == len(self._round):
                end = str(self._round_ends).encode()
                self._database.change(_SET_LISTED, (LISTED_STATE, end))
        del self._round[-at_most:]
        return len(self._round)
