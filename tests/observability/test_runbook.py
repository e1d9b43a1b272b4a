"""The runbook has an entry for every alert, and nothing in it that nobody has run.

What its entries have one type is typed by `tests/live`, which makes each alert's fault.
"""

import ast
import re

import pytest

from scripts import alert_rules, runbook
from tests.children import ROOT
from tests.live import runbook as entries
from tests.stories.test_readme import SHOWN_BY

RUNBOOK = (ROOT / alert_rules.RUNBOOK).read_text()
OVERVIEW_IS_TYPED = "types_the_overview(seen)\n"
LIVE = sorted((ROOT / "tests" / "live").glob("test_*.py"))


def strings_of(call: str) -> list[str]:
    """The alerts that the live tests name as the first argument of such a call, loops included."""
    found = []
    nodes = [node for path in LIVE for node in ast.walk(ast.parse(path.read_text()))]
    for node in nodes:
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == call:
            found += [
                each.value
                for each in node.args[:1]
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            ]
        if isinstance(node, ast.For) and f"seen.{call}(" in ast.unparse(node):
            found += re.findall(r"'(\w+)'", ast.unparse(node.iter))
    return found


def test_every_alert_has_its_entry_and_no_entry_is_nobodys():
    assert list(entries.entries()) and set(entries.entries()) == set(runbook.alert_names())
    assert len(re.findall(r"^### ", RUNBOOK, re.M)) == len(runbook.alert_names())


@pytest.mark.parametrize("alert", runbook.alert_names())
def test_an_entry_says_all_five_things(alert):
    entry = entries.entries()[alert]
    assert tuple(entry) == entries.PARTS
    assert [part for part, text in entry.items() if not text.strip()] == []
    assert entries.typed(alert, "Mend"), "nothing mends it"
    assert entries.typed(alert, "Look"), "nobody can look"


@pytest.mark.parametrize("alert", runbook.alert_names())
def test_an_entry_shows_what_its_commands_print(alert):
    for part in ("Look", "Mended"):
        for block in entries.typed(alert, part):
            assert block.printed is not None, block.text


def test_links_lead_to_entries():
    anchors = {heading.lower() for heading in re.findall(r"^#+ (.+)$", RUNBOOK, re.M)}
    links = set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK))
    assert links and links <= anchors


def test_every_alerts_fault_is_made_live():
    made = set(strings_of("fault"))
    assert made == set(runbook.alert_names())


def test_what_stands_outside_of_entries_is_typed_as_well():
    inside = "".join(text for entry in entries.entries().values() for text in entry.values())
    overview = RUNBOOK[RUNBOOK.index("\n## Overview") : RUNBOOK.index("\n## Uptime and errors")]
    outside = [
        block.text.strip()
        for block in entries.blocks(RUNBOOK)
        if block.text not in inside and block.text not in overview
    ]
    assert outside and set(outside) - set(SHOWN_BY) == set()
    assert any(OVERVIEW_IS_TYPED in path.read_text() for path in LIVE)


def test_blocks_are_typed_or_printed():
    languages = set(re.findall(r"^```(\w+)$", RUNBOOK, re.M))
    assert languages == {"sh", "promql", "text"}
    assert RUNBOOK.count("\n```text\n") == sum(
        block.printed is not None for block in entries.blocks(RUNBOOK)
    )


@pytest.mark.parametrize(
    ("printed", "told", "fits"),
    [
        ("200", "200", True),
        ("200", "201", False),
        ("a … c", "a b c", True),
        ("a … c", "a\nc", False),
        ("…\nlast", "first\nsecond\nlast", True),
        ("…\nlast", "last", True),
        ("…\nlast", "last\nmore", False),
        ("first\n…", "first", True),
        ("{} => 0", "{} => 0.5", False),
    ],
)
def test_what_is_printed_must_fit(printed, told, fits):
    assert entries.Typed("sh", "true", printed).matches(told) is fits


def test_every_file_it_names_is_there():
    named = set(re.findall(r"`((?:ops|scripts)/[\w./-]+)`", RUNBOOK))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
