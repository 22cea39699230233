"""In which order are the checks made, how long may they take, and what comes out?

All checks run side by side; one that needs others waits for them, and isn't made when they aren't
well. Each has its deadline, and all of them together have one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.errors import PostroadError
from postroad.securityserver.doctor.findings import Finding, Telling, explain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.securityserver.doctor.patient import Patient

CHECK_SECONDS: Final = 12.0
"""How long one check may take, from the moment it begins."""
EXAMINATION_SECONDS: Final = 45.0
"""How long everything may take."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question about the server."""

    name: str
    examine: Callable[[Patient], Awaitable[Sequence[Finding]]]
    needs: tuple[str, ...] = ()
    """Checks that must be well for this one to mean anything; they stand before it."""


async def examine(
    patient: Patient, checks: Sequence[Check], *, seconds: float = EXAMINATION_SECONDS
) -> tuple[Finding, ...]:
    """Make all checks; their findings in the order of the table."""
    running: dict[str, asyncio.Future[Sequence[Finding]]] = {}
    for check in checks:
        needed = [running[name] for name in check.needs]
        running[check.name] = asyncio.ensure_future(_run(check, needed, patient))
    await asyncio.wait(running.values(), timeout=seconds)
    found: list[Finding] = []
    for name, task in running.items():
        if task.done():
            found += task.result()
        else:
            task.cancel()
            found.append(Telling(name).unknown(f"no end within {seconds:g} s"))
    await asyncio.gather(*running.values(), return_exceptions=True)
    return explain(found)


async def _run(
    check: Check, needed: Sequence[asyncio.Future[Sequence[Finding]]], patient: Patient
) -> Sequence[Finding]:
    tell = Telling(check.name)
    for task in needed:
        for finding in await asyncio.shield(task):
            if finding.is_sick:
                return [tell.not_judged(finding.because or finding.check)]
    making = asyncio.ensure_future(_examined(check, patient))
    try:
        await asyncio.wait({making}, timeout=CHECK_SECONDS)
    finally:
        making.cancel()
    if not making.done():
        return [tell.unknown(f"no end within {CHECK_SECONDS:g} s")]
    error = making.exception()
    if error is None:
        return making.result()
    if isinstance(error, PostroadError):
        return [tell.unknown(error.message, f"postroad explain {error.fault_code}")]
    # A defect of one check must not hide what the others found.
    return [tell.unknown(f"the check itself is broken: {type(error).__name__}: {error}")]


async def _examined(check: Check, patient: Patient) -> Sequence[Finding]:
    return await check.examine(patient)
