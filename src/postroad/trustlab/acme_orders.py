"""What does the lab's ACME endpoint remember: nonces, accounts, orders and their challenges?

In memory only: a lab that is started again knows no account and no order, as any client must be
able to stand. Statuses and their changes are those of RFC 8555, 7.1.6.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.trustlab.acme_jws import AcmeProblem, malformed

if TYPE_CHECKING:
    from datetime import datetime

    from josepy.jwk import JWK

MAX_NONCES: Final = 10_000
MAX_ORDERS: Final = 10_000
MAX_ACCOUNTS: Final = 10_000
ORDER_LIFETIME: Final = timedelta(hours=1)
_DNS_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Account:
    """Who orders, known by a key."""

    id: str
    jwk: JWK
    contact: tuple[str, ...]
    bound_to: str | None
    """The key identifier of its external account binding."""


@dataclass(slots=True)
class Order:
    """One certificate that is wanted, for one DNS name, with its one HTTP-01 challenge."""

    id: str
    account: str
    name: str
    profile: str | None
    not_after: datetime | None
    expires: datetime
    token: str
    replaces: str | None = None
    challenge: str = "pending"
    """pending, processing, valid or invalid; the authorization follows it."""
    problem: AcmeProblem | None = None
    status: str = "pending"
    certificate: bytes = b""
    """PEM chain."""

    @property
    def authorization(self) -> str:
        """The status of the authorization."""
        return "pending" if self.challenge == "processing" else self.challenge

    def proved(self, problem: AcmeProblem | None) -> None:
        """Note how the challenge ended."""
        self.problem = problem
        self.challenge = "valid" if problem is None else "invalid"
        self.status = "ready" if problem is None else "invalid"


@dataclass(slots=True)
class AcmeRegister:
    """All that the endpoint knows."""

    accounts: dict[str, Account] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    _nonces: dict[str, None] = field(default_factory=dict)

    def new_nonce(self) -> str:
        """Give out a nonce; the oldest are forgotten when there are too many."""
        nonce = new_name()
        self._nonces[nonce] = None
        if len(self._nonces) > MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        return nonce

    def use_nonce(self, nonce: str) -> bool:
        """Take a nonce out of use; whether it was good."""
        return self._nonces.pop(nonce, self) is None

    def account_of(self, jwk: JWK) -> Account | None:
        """The account of a key."""
        wanted = jwk.thumbprint()
        known = self.accounts.values()
        return next((each for each in known if each.jwk.thumbprint() == wanted), None)

    def add_account(self, jwk: JWK, contact: tuple[str, ...], bound_to: str | None) -> Account:
        """Make an account."""
        _require_room(len(self.accounts), MAX_ACCOUNTS)
        account = Account(new_name(), jwk, contact, bound_to)
        self.accounts[account.id] = account
        return account

    def add_order(
        self,
        account: str,
        request: dict[str, object],
        *,
        not_after: datetime | None,
        at: datetime,
    ) -> Order:
        """Make an order out of a newOrder request."""
        _require_room(len(self.orders), MAX_ORDERS)
        profile, replaces = request.get("profile"), request.get("replaces")
        order = Order(
            id=new_name(),
            account=account,
            name=_only_name(request.get("identifiers")),
            profile=None if profile is None else str(profile),
            replaces=None if replaces is None else str(replaces),
            not_after=not_after,
            expires=at.replace(microsecond=0) + ORDER_LIFETIME,
            token=new_name(),
        )
        self.orders[order.id] = order
        return order

    def order_for(self, order_id: str, account: str, at: datetime) -> Order:
        """An order of an account; others' orders are not told from those that don't exist."""
        order = self.orders.get(order_id)
        if order is None or order.account != account:
            raise AcmeProblem("malformed", "there is no such order", 404)
        if at > order.expires and order.status in {"pending", "ready"}:
            order.status = "invalid"
        return order


def new_name() -> str:
    """A name that nobody guesses: 32 characters of base64url."""
    return secrets.token_urlsafe(24)


def _only_name(identifiers: object) -> str:
    if not isinstance(identifiers, list) or len(identifiers) != 1:
        raise AcmeProblem("rejectedIdentifier", "order for exactly one identifier")
    identifier = identifiers[0]
    if not isinstance(identifier, dict) or identifier.get("type") != "dns":
        raise AcmeProblem("unsupportedIdentifier", "the identifier is not a DNS name")
    name = str(identifier.get("value"))
    if not _DNS_NAME.fullmatch(name):
        raise malformed("the identifier is not a DNS name that can be proven by HTTP-01")
    return name.lower()


def _require_room(count: int, limit: int) -> None:
    if count >= limit:
        raise AcmeProblem("rateLimited", "the lab keeps no more of them: start it again", 429)
