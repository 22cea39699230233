from __future__ import annotations

from postroad.securityserver.exchange_report import ExchangeReport


def test_the_line_holds_only_what_says_something() -> None:
    report = ExchangeReport(side="client", method="GET", status=200, seconds=0.25)
    assert report.line() == {"side": "client", "method": "GET", "status": 200, "seconds": 0.25}
