"""How are results told to people: a table, pictures, the page in the documentation?"""

from __future__ import annotations

import json
from pathlib import Path

from bench import plots
from bench.targets import SIDES, Results, Verdict, find_step, verdicts

_REMARKS = """\
- p99 at many consumers is queueing: the load generator keeps that many requests under way all the
  time, whatever the server can do.
- *Memory* judges the sum in which a page shared by several processes counts once.
- The nginx pair of the targets streams bodies; a Security Server must have verified a request
  before the provider sees its first byte, so it takes it in whole, as the buffering pair does.
- The nginx pair speaks the cipher suite that the protocol prescribes between Security Servers
  (TLS 1.2, AES-256-CBC with HMAC-SHA-384). With the one nginx prefers it is shown beside it:
  that much of a large body's time no Security Server may save.
- Latency while the message archive runs is measured by `python -m bench.archiving`.
"""


def write(results: Results, stem: Path) -> list[Path]:
    """Write the table and the pictures beside the JSON; the files written."""
    table, picture = stem.parent / f"{stem.name}.md", stem.parent / f"{stem.name}.svg"
    table.write_text(f"# Postroad {results['version']}, measured\n\n{body(results)}")
    picture.write_text(plots.draw(plots.charts(results)))
    return [stem.parent / f"{stem.name}.json", table, picture]


def write_page(folder: Path, page: Path) -> Path:
    """Write ``docs/performance.md`` from the newest results of a folder; returns its path."""
    newest = max(path for path in folder.glob("[0-9]*.json") if not path.stem.endswith("-part"))
    results = json.loads(newest.read_text())
    soaks = sorted(folder.glob(f"soak-{results['version']}-*.json"))
    if soaks:
        results["soak"] = json.loads(soaks[-1].read_text())
    page.write_text(documentation(results, newest.stem))
    return page


def documentation(results: Results, name: str) -> str:
    """Return ``docs/performance.md``."""
    return f"""\
# Performance

Made by `make bench` from [its newest result](../bench/results/{name}.json); do not edit.

The benchmark runs a whole system on one machine: two Security Servers with mutual TLS between them,
full verification, OCSP, a durable log on both sides and time-stamping, a provider and a load
generator. Nothing is switched off. Because machines differ, targets are *ratios* to what the parts
cost bare, measured in the same run: one signature and one verification of the crypto library, one
durable commit, the same call without any Security Server, and the same call through two nginx with
mutual TLS. Load generator and provider share the cores with both servers.

- `make bench` measures everything (about 15 minutes) and writes this page;
  `make bench ARGS=--quick` only shows that everything works.
- `python -m bench.compare OLD.json NEW.json` shows what became slower.
- `make soak` loads a pair of servers for an hour and watches their memory.
- `make profile` says where an exchange's time goes.

![Results](../bench/results/{name}.svg)

{body(results)}"""


def body(results: Results) -> str:
    """All tables of one run."""
    sections = [_machine(results), _targets(results), _steps(results), _cpu(results)]
    sections += [_large(results), _floors(results), _memory(results), _reading(results)]
    return "\n".join(section for section in sections if section)


def summary(results: Results) -> str:
    """The targets for a terminal."""
    lines = [""]
    for verdict in verdicts(results):
        mark = {True: "✔", False: "✘", None: "·"}[verdict.is_met]
        lines.append(
            f"{mark} {verdict.area:12} {verdict.what:58} {verdict.asked:>9}  {verdict.found:>10}"
        )
    foreign = max(
        (
            step["used"]["cores_foreign"]
            for system in results["systems"]
            for step in system["steps"]
        ),
        default=0.0,
    )
    if foreign > 0.1:
        lines.append(
            f"! up to {foreign:.1f} cores were busy with something else: not a quiet machine"
        )
    return "\n".join(lines)


def failures(results: Results) -> int:
    """How many exchanges failed in all steps."""
    return sum(
        sum(step["load"]["errors"].values())
        for system in results["systems"]
        for step in system["steps"]
    )


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _machine(results: Results) -> str:
    machine = results["machine"]
    foreign = max(
        (
            step["used"]["cores_foreign"]
            for system in results["systems"]
            for step in system["steps"]
        ),
        default=0.0,
    )
    return (
        f"Version {results['version']} ({results['commit']}), {results['at'][:10]}, "
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_mb'] // 1024} GB, Linux "
        f"{machine['kernel']}, Python {machine['python']}, cryptography {machine['cryptography']}, "
        f"{machine['openssl_of_ssl']}. {results['seconds_per_step']:g} s for each measurement; "
        f"at most {foreign:.2f} cores busy with something else meanwhile.\n"
    )


def _targets(results: Results) -> str:
    rows: list[tuple[object, ...]] = [
        (each.area, each.what, each.asked, each.found, each.mark, each.how)
        for each in verdicts(results)
    ]
    return "## Targets\n\n" + _table(("", "target", "asked", "measured", "", "how"), rows)


def _steps(results: Results) -> str:
    rows: list[tuple[object, ...]] = []
    for system in results["systems"]:
        for step in system["steps"]:
            load = step["load"]
            written = step["used"]["written_bytes"]
            rows.append(
                (
                    system["name"],
                    step["workload"],
                    f"{step['consumers']}{'' if step['keep_alive'] else ' (new connections)'}",
                    f"{load['per_second']:.0f}",
                    f"{load['mb_per_second']:.1f}",
                    *(f"{load[f'{name}_ms']:.1f}" for name in ("p50", "p95", "p99")),
                    sum(load["errors"].values()),
                    f"{step['used']['all_us']:.0f}",
                    " / ".join(f"{written.get(side, 0) / 1000:.0f}" for side in SIDES),
                )
            )
    head = (
        "system",
        "workload",
        "consumers",
        "exchanges/s",
        "MB/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "failed",
        "CPU µs, all",
        "kB written (each server)",
    )
    return "## Workloads\n\n" + _table(head, rows)


def _cpu(results: Results) -> str:
    rows: list[tuple[object, ...]] = []
    for system in results["systems"]:
        for step in system["steps"]:
            if (step["workload"], step["consumers"], step["keep_alive"]) != ("get-1k", 64, True):
                continue
            keys = system["configuration"]["keys"]
            bare = results["floors"]["keys"][keys]["pair_us"]
            for side in SIDES:
                used = step["used"]["cpu_us"][side]
                rows.append(
                    (
                        system["name"],
                        side,
                        *(
                            f"{used.get(kind, 0):.0f}"
                            for kind in ("worker", "signer", "logwriter", "background", "database")
                        ),
                        f"{sum(used.values()):.0f}",
                        f"{bare:.0f}",
                        f"{sum(used.values()) / bare:.2f}",
                    )
                )
    head = (
        "system",
        "server of the",
        "worker",
        "signer",
        "log writer",
        "background",
        "PostgreSQL",
        "all",
        "sign + verify bare",
        "ratio",
    )
    return "## CPU per exchange (µs), GET 1 kB, 64 consumers\n\n" + _table(head, rows)


def _large(results: Results) -> str:
    if "large" not in results:
        return ""
    floors = results["floors"]["large"]
    rows: list[tuple[object, ...]] = [
        (
            f"{values['bytes'] / 1e6:.0f} MB {direction}",
            f"{values['mb_per_second']:.0f}",
            *(
                f"{floors[name][direction]:.0f}"
                for name in ("nginx_streaming", "nginx_buffered", "nginx_modern", "direct")
            ),
            " / ".join(f"{values['cpu_ms_per_mb'][side]:.1f}" for side in SIDES),
            " / ".join(f"{values['written_bytes_per_byte'][side]:.1f}" for side in SIDES),
            " / ".join(f"{values['memory_added_mb'][side]['proportional']:.0f}" for side in SIDES),
        )
        for direction, values in results["large"].items()
    ]
    head = (
        "body",
        "MB/s",
        "nginx pair, streaming",
        "nginx pair, buffering",
        "nginx pair, its own suite",
        "direct",
        "CPU ms per MB (each server)",
        "bytes written per byte",
        "memory added, MB",
    )
    sha = results["floors"]["sha512_mb_per_second"]
    note = (
        f"\nSHA-512, which both servers must compute over every body: {sha:.0f} MB/s on one core.\n"
    )
    return "## Large bodies\n\n" + _table(head, rows) + note


def _floors(results: Results) -> str:
    floors = results["floors"]
    rows: list[tuple[object, ...]] = []
    for keys, cost in floors["keys"].items():
        rows.append(
            (f"sign, {keys}", f"{1e6 / cost['sign_us']:.0f}/s", f"{cost['sign_us']:.0f} µs")
        )
        rows.append(
            (f"verify, {keys}", f"{1e6 / cost['verify_us']:.0f}/s", f"{cost['verify_us']:.0f} µs")
        )
    for database, ms in floors["commit_ms"].items():
        rows.append((f"durable commit, {database}", f"{1e3 / ms:.0f}/s", f"{ms:.2f} ms"))
    for where, title in (
        ("direct", "direct"),
        ("nginx_pair", "nginx pair"),
        ("nginx_pair_modern", "nginx pair, its own suite"),
    ):
        for name, load in floors[where].items():
            told = (
                f"{load['per_second']:.0f}/s, p50 {load['p50_ms']:.2f} ms, p99 {load['p99_ms']:.2f}"
            )
            cpu = f"{load['cpu_us']:.0f} µs of both nginx" if "cpu_us" in load else ""
            rows.append((f"{name}, {title}", told, cpu))
    text = "## Floors\n\n" + _table(("bare", "rate", "cost"), rows)
    step, pair = find_step(results, "get-1k", 64), floors["nginx_pair"].get("get-1k@64")
    if step is not None and pair is not None:
        servers = sum(sum(step["used"]["cpu_us"][side].values()) for side in SIDES)
        text += (
            f"\nBoth Security Servers together use {servers / pair['cpu_us']:.1f} times the CPU of "
            "the two nginx, which sign, verify and keep nothing.\n"
        )
    return text


def _memory(results: Results) -> str:
    rows: list[tuple[object, ...]] = []

    def row(title: str, values: Results) -> None:
        for side in SIDES:
            if side not in values:
                continue
            processes = ", ".join(
                f"{name} {memory['proportional']:.0f}"
                for name, memory in values[side].get("processes", {}).items()
            )
            rows.append(
                (
                    title,
                    side,
                    f"{values[side]['resident']:.0f}",
                    f"{values[side]['proportional']:.0f}",
                    processes,
                )
            )

    for system in results["systems"]:
        if "idle" in system:
            row("at rest", system["idle"])
            for step in system["steps"]:
                row(f"{step['workload']}, {step['consumers']} consumers", step["memory"])
    head = ("when", "server of the", "resident MB", "shared pages once, MB", "by process")
    return "## Memory\n\n" + _table(head, rows)


def _reading(results: Results) -> str:
    missed = [each for each in verdicts(results) if each.is_met is False]
    absent = [each for each in verdicts(results) if each.is_met is None]
    lines = ["## How to read this\n"]
    lines += [_explained(each) for each in missed]
    lines += [
        f"- Not measured in this run: {each.area}, {each.what}. {each.how}" for each in absent
    ]
    return "\n".join(lines) + "\n" + _REMARKS + _written_remarks()


def _written_remarks() -> str:
    """What people have written about the results: ``bench/remarks.md``."""
    path = Path(__file__).with_name("remarks.md")
    return f"\n{path.read_text()}" if path.exists() else ""


def _explained(verdict: Verdict) -> str:
    return (
        f"- Missed: {verdict.area}, {verdict.what}: {verdict.found.strip()} instead of "
        f"{verdict.asked}. {verdict.how}"
    )
