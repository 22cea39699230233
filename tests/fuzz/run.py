"""Fuzz for long: ``make fuzz`` (ARGS="--seconds 600 signature container"; ARGS=--list).

Guided by coverage where ``atheris`` is installed (``pip install atheris``), else by changes of
known inputs from a new seed. A finding ends the target, is kept in tests/fuzz/findings, and
belongs into a test.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fuzz.contract import FindingError, Target, judge
from fuzz.mutation import mutations
from fuzz.targets import TARGETS

FINDINGS = Path(__file__).parent / "findings"
_FOUND = 77


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the targets of the command line one after the other; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="names of targets; all if none is given")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--list", action="store_true", help="list the targets and end")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(TARGETS))
        return 0
    guided = importlib.util.find_spec("atheris") is not None
    print("guided by coverage (atheris)" if guided else f"changes of known inputs, {options.seed}")
    found = 0
    for name in options.targets or TARGETS:
        work = _guided if guided else _unguided
        process = multiprocessing.get_context("spawn").Process(
            target=work, args=(name, options.seconds, options.seed)
        )
        process.start()
        process.join(options.seconds + 120)
        if process.is_alive():
            process.kill()
            print(f"{name}: hangs")
            found += 1
        elif process.exitcode:
            found += 1
    return 1 if found else 0


def _unguided(name: str, seconds: float, seed: int) -> None:
    target = TARGETS[name]
    until = time.monotonic() + seconds
    count = 0
    for data in mutations(target.seeds(), target.words, seed):
        _judge(target, data)
        count += 1
        if time.monotonic() > until:
            break
    print(f"{name}: {count} inputs, nothing found", flush=True)


def _guided(name: str, seconds: float, seed: int) -> None:
    import atheris  # optional; it has no types

    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(target.seeds()):
            Path(corpus, str(number)).write_bytes(data)
        words = Path(corpus, "words.dict")
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        atheris.instrument_all()
        options = [f"-max_total_time={int(seconds)}", f"-seed={seed % 2**31}", f"-dict={words}"]
        options += ["-max_len=100000", "-timeout=30", "-verbosity=0", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *options, corpus], lambda data: _judge(target, data))
        print(f"{name}:", flush=True)
        atheris.Fuzz()


def _judge(target: Target, data: bytes) -> None:
    try:
        judge(target, data)
    except FindingError as finding:
        FINDINGS.mkdir(exist_ok=True)
        path = FINDINGS / f"{target.name}-{hashlib.sha256(data).hexdigest()[:16]}"
        path.write_bytes(data)
        print(f"{str(finding)[:500]}\n  the input is kept in {path}", flush=True)
        os._exit(_FOUND)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
