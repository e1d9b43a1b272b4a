"""Write Alertmanager's configuration: the template, with the addresses of the environment in it.

Alertmanager expands no environment variables, and the addresses that alerts are sent to are
secrets: who knows them can page. So they are not in the repository, and the file is its owner's
alone (mode 0600). Alertmanager reads it again on SIGHUP.
"""

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

import _root  # noqa: F401

TEMPLATE = (
    Path(__file__).resolve().parents[1]
    / "ops" / "observability" / "alertmanager" / "alertmanager.template.yml"
)  # fmt: skip
VARIABLES = {
    "PAGE_WEBHOOK_URL": "wakes somebody",
    "TICKET_WEBHOOK_URL": "waits for the morning",
    "WATCHDOG_WEBHOOK_URL": "a dead man's switch, which calls when it hears nothing",
}
EPILOG = """\
environment:
{variables}

example:
  .venv/bin/python scripts/alertmanager_config.py --out /etc/prometheus/alertmanager.yml

exit codes:
  0    fine
  2    usage
  3    could not run; stderr says why"""
FINE, NOT_RUN = 0, 3

_URL = re.compile(r"https?://[^\s\"\\]+")
_TIME = re.compile(r"(?<=_(?:wait): )(\d+)(s|m|h)\b|(?<=_interval: )(\d+)(s|m|h)\b")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Missing(Exception):
    """Addresses are missing or are none; its text names each."""


def render(environ: Mapping[str, str], speed: float = 1.0) -> str:
    """The configuration's text. speed: how many times shorter each wait is. Raises Missing."""
    faults = [
        f"{name}: {'is missing' if not environ.get(name) else 'is no http address'} ({what})"
        for name, what in VARIABLES.items()
        if not _URL.fullmatch(environ.get(name, ""))
    ]
    if faults:
        raise Missing("\n".join(faults))
    text = re.sub(r"^#.*\n", "", TEMPLATE.read_text(), flags=re.M)
    filled = Template(text).substitute({name: environ[name] for name in VARIABLES})
    return filled if speed == 1 else _TIME.sub(lambda found: _shorter(found, speed), filled)


def _shorter(found: re.Match[str], speed: float) -> str:
    number, unit = (found[1], found[2]) if found[1] else (found[3], found[4])
    seconds = int(number) * _SECONDS[unit] / speed
    return f"{max(1, round(seconds))}s" if seconds else "0s"


def write(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others. Raises OSError."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


def main(argv: list[str] | None = None) -> int:
    """Exit 0: written. 3: an address is missing, or the file can't be written."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EPILOG.format(
            variables="\n".join(f"  {name}  {what}" for name, what in VARIABLES.items())
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="write there")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="make waits so many times shorter, for tests"
    )
    args = parser.parse_args(argv)
    try:
        write(args.out, render(os.environ, args.speed))
    except (Missing, OSError) as fault:
        print(fault, file=sys.stderr)
        return NOT_RUN
    print(f"{args.out}: send Alertmanager SIGHUP, and it reads this")
    return FINE


if __name__ == "__main__":
    sys.exit(main())
