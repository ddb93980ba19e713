"""``python -m benchmarks [SECTION …] [--json FILE]``: measure, and print figures with what was wanted of them."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from benchmarks.figures import Figure, as_json, as_table, machine
from benchmarks.stack import isolate

Section = Callable[[argparse.Namespace], Awaitable[list[Figure]]]


async def _scale(options: argparse.Namespace) -> list[Figure]:
    from benchmarks import scale

    return await scale.run(scale.Scale(options.pools, options.workers, options.sleep))


async def _recovery(_: argparse.Namespace) -> list[Figure]:
    from benchmarks import recovery

    return await recovery.run()


async def _routing(options: argparse.Namespace) -> list[Figure]:
    from benchmarks import routing

    return await routing.run(options.pools)


async def _celery(_: argparse.Namespace) -> list[Figure]:
    from benchmarks import comparison

    return await comparison.run()


async def _memory(_: argparse.Namespace) -> list[Figure]:
    from benchmarks import memory

    return await asyncio.to_thread(memory.run)


async def _delegation(_: argparse.Namespace) -> list[Figure]:
    from benchmarks import delegation

    return await delegation.run()


async def _bus(_: argparse.Namespace) -> list[Figure]:
    from benchmarks import bus

    return await bus.run()


async def _drain(_: argparse.Namespace) -> list[Figure]:
    from benchmarks import drain

    return await drain.run()


async def _costs(_: argparse.Namespace) -> list[Figure]:
    from benchmarks import costs

    return await costs.run()


async def _simulation(options: argparse.Namespace) -> list[Figure]:
    from benchmarks import simulation

    return await simulation.run(tuple(sorted({100, 1000, options.simulated_pools})), options.simulated_tasks)


SECTIONS: dict[str, Section] = {
    "scale": _scale,
    "recovery": _recovery,
    "routing": _routing,
    "celery": _celery,
    "memory": _memory,
    "delegation": _delegation,
    "bus": _bus,
    "drain": _drain,
    "costs": _costs,
    "simulation": _simulation,
}

#: Seconds a section may take altogether.
DEADLINE = 1800.0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure on private stacks of this machine."
    )
    made.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (default: all)")
    made.add_argument("--pools", type=int, default=100, help="pools of the scale and routing sections (default: 100)")
    made.add_argument("--workers", type=int, default=100, help="workers of each pool in scale (default: 100)")
    made.add_argument("--sleep", type=float, default=60.0, help="seconds each task of scale sleeps (default: 60)")
    made.add_argument("--simulated-pools", type=int, default=10_000, help="most pools of simulation (default: 10,000)")
    made.add_argument("--simulated-tasks", type=int, default=100_000, help="tasks of simulation (default: 100,000)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON too")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the named sections; the exit code is 1 when a figure is not as it should be."""
    options = parser().parse_args(arguments)
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser().error(f"no section {unknown[0]!r}; there are: {', '.join(SECTIONS)}")
    isolate()
    about = machine()
    print("\n".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    found: dict[str, list[Figure]] = {}
    for name in options.sections or SECTIONS:
        print(f"\nmeasuring {name} …", file=sys.stderr, flush=True)
        found[name] = asyncio.run(asyncio.wait_for(_called(SECTIONS[name], options), DEADLINE))
        print(f"\n{as_table(name, found[name])}", flush=True)
    if options.json:
        options.json.write_text(as_json(found, about) + "\n", encoding="utf-8")
    return int(any(figure.met is False for figures in found.values() for figure in figures))


async def _called(section: Section, options: argparse.Namespace) -> list[Figure]:
    return await section(options)


if __name__ == "__main__":
    sys.exit(main())
