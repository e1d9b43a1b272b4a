"""Speed as ratios to plain baselines, all taken in one run; writes bench.json.

It starts servers of its own, with fsync and synchronous_commit on. Ratios are what to keep: single
figures say more of the machine than of the service.
"""

import argparse
import sys
from pathlib import Path

import _root
from tests.bench import checkout, delivery, ratios

FINE, FAILED = 0, 1


def main(argv: list[str] | None = None) -> int:
    """Exit 0: every goal was reached. 1: one was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each figure (5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a round (5)")
    parser.add_argument("--deliveries", type=int, default=2_000, help="in each round (2000)")
    parser.add_argument(
        "--out", type=Path, default=_root.ROOT / "bench.json", help="the file (bench.json)"
    )
    args = parser.parse_args(argv)
    print("Payments: pgbench, then confirms by 8 clients, in turns")
    found = checkout.measure(args.rounds, args.seconds, print)
    print("Deliveries: a plain loop, then the worker, in turns")
    found.append(delivery.measure(args.rounds, args.deliveries, print))
    for ratio in found:
        print(ratio.line())
    ratios.write(args.out, found)
    return FINE if all(ratio.reached for ratio in found) else FAILED


if __name__ == "__main__":
    sys.exit(main())
