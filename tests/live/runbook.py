"""The runbook as the tests read it: for each alert what is typed, and what that prints.

An entry has the parts `**Means**`, `**Hurt**`, `**Look**`, `**Mend**` and `**Mended**`, in this
order. A block ```sh or ```promql is typed; a block ```text right after it is what comes out, where
`…` stands for anything within a line, and a line `…` for any lines. A comment in a command says
what else must be known of it: `exits 1`; `stays in the foreground`; `the host starts it again`.
"""

import re
from dataclasses import dataclass
from functools import cache

from scripts import alert_rules

PARTS = ("Means", "Hurt", "Look", "Mend", "Mended")
STAYS = "stays in the foreground"
RESTARTED = "the host starts it again"
EXITS_1 = "exits 1"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?", re.M | re.S)
_AS = re.compile(r"\]\(#(\w+)\)")


@dataclass(frozen=True)
class Typed:
    """A block to type. language: sh or promql. printed: what comes out, or None: anything."""

    language: str
    text: str
    printed: str | None

    @property
    def stays(self) -> bool:
        """Whether it is a server that goes on running."""
        return STAYS in self.text

    @property
    def is_restarted(self) -> bool:
        """Whether it ends a process that the host starts again."""
        return RESTARTED in self.text

    @property
    def fine(self) -> tuple[int, ...]:
        """Its exit codes."""
        return (0, 1) if EXITS_1 in self.text else (0,)

    def matches(self, told: str) -> bool:
        """Whether that is what it prints."""
        whole = "".join(f"{line.rstrip()}\n" for line in told.strip().splitlines())
        return self.printed is None or bool(re.fullmatch(pattern(self.printed), whole))


def pattern(printed: str) -> str:
    """The regular expression of a block of what is printed."""
    return "".join(
        r"(?:[^\n]*\n)*?"
        if line.strip() == "…"
        else r"[^\n]*?".join(re.escape(part) for part in line.split("…")) + r"\n"
        for line in printed.strip().splitlines()
    )


def text() -> str:
    """The runbook."""
    return (alert_rules.ROOT / alert_rules.RUNBOOK).read_text()


@cache
def entries() -> dict[str, dict[str, str]]:
    """Each alert's entry: the text of its parts, by their names."""
    found = {}
    for name, entry in re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text(), re.M | re.S):
        pieces = re.split(r"^\*\*(\w+)\*\*", entry, flags=re.M)
        found[name] = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    return found


def blocks(part: str) -> list[Typed]:
    """What is to be typed in a text, in its order."""
    return [
        Typed(language, typed, printed or None)
        for language, typed, printed in _BLOCK.findall(part)
        if language != "text"
    ]


def typed(alert: str, part: str) -> list[Typed]:
    """What is to be typed for that part of an alert's entry; `as [X](#x)` leads to X's."""
    found = blocks(entries()[alert][part])
    if found or part != "Mend":
        return found
    link = _AS.search(entries()[alert][part])
    if link is None:
        return []
    (other,) = [name for name in entries() if name.lower() == link[1]]
    return typed(other, part)
