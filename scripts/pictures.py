"""Draw a picture of each dashboard from a live Prometheus's answers to its panels.

Without --prometheus it starts the whole service with a Prometheus beside it and lets people use it
for some minutes, with a worker that is away for a while and writes that are stopped for a moment.
The pictures are drawn by a small renderer of this repository, not by Grafana.
"""

import argparse
import json
import sys
import tempfile
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import _root
from payments import clock
from scripts import _run, dashboards
from scripts._prometheus import Prometheus, Unanswered
from scripts.boards import drawing
from tests.observability import stack, traffic
from tests.servers import Servers

FOLDER = _root.ROOT / "ops" / "observability" / "grafana" / "pictures"
FINE, NOT_RUN = 0, 3
EVERY_S = 3
"""How often its Prometheus scrapes."""
SAID = (
    "Drawn from Prometheus's live answers by scripts/pictures.py, a small renderer of this"
    " repository; not by Grafana.\n"
)
OWN = (
    "The load: {minutes:.1f} minutes of five customers and two shops whose servers are partly slow"
    " or broken, a flood without credentials, guessed codes, stopped writes, a worker away."
)
OTHER = "Asked: {url}"


def draw(prometheus: Prometheus, start: datetime, end: datetime, out: Path, load: str) -> None:
    """Write the pictures. Raises Unanswered."""
    out.mkdir(parents=True, exist_ok=True)
    made = dashboards.texts()
    for board in dashboards.BOARDS:
        shown = json.loads(made[f"dashboards/{board.file}"])
        drawn = drawing.picture(shown, prometheus, start, end, SAID + load)
        path = out / board.file.replace(".json", ".svg")
        path.write_text(drawn)
        print(f"{path}: {len(drawn) // 1000} kB")


def _of_a_load(out: Path, seconds: float) -> None:
    with Servers() as servers, tempfile.TemporaryDirectory(prefix="payments-pictures-") as folder:
        with stack.running(
            servers.addresses(), Path(folder), every_s=EVERY_S, **traffic.SETTINGS
        ) as running:
            start = clock.now()
            traffic.an_eventful_day(running, seconds)
            running.scraped()
            said = OWN.format(minutes=seconds / 60)
            draw(running.prometheus, start, clock.now(), out, said)


def main(argv: list[str] | None = None) -> int:
    """Exit 0: drawn. 3: Prometheus does not answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", metavar="URL", help="ask this one instead")
    parser.add_argument("--from", dest="start", type=_run.moment, metavar="TIME")
    parser.add_argument("--to", type=_run.moment, metavar="TIME", help="now where none is given")
    parser.add_argument("--seconds", type=_run.whole, default=300, help="length of the load (300)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder to write to")
    args = parser.parse_args(argv)
    end = args.to or clock.now()
    start = args.start or end - timedelta(hours=3)
    try:
        if args.prometheus:
            with closing(Prometheus(args.prometheus)) as asked:
                draw(asked, start, end, args.out, OTHER.format(url=asked.name))
        else:
            _of_a_load(args.out, args.seconds)
    except Unanswered as why:
        print(f"pictures: {why}", file=sys.stderr)
        return NOT_RUN
    return FINE


if __name__ == "__main__":
    sys.exit(main())
