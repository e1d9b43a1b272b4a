"""The template of incidents names commands that tests run, and files that there are."""

import re

from tests.children import ROOT
from tests.stories.test_readme import SHOWN_BY

FOLDER = ROOT / "ops" / "incidents"
TEMPLATE = (FOLDER / "TEMPLATE.md").read_text()


def test_every_command_is_one_that_tests_run():
    blocks = re.findall(r"```sh\n(.*?)```", TEMPLATE, re.S)
    lines = [line.strip() for block in blocks for line in block.splitlines() if line.strip()]
    commands = {re.sub(r"\s{2,}#.*", "", line) for line in lines}
    assert len(commands) >= 3
    assert commands - set(SHOWN_BY) == set()


def test_it_asks_for_what_an_incident_needs():
    headings = re.findall(r"^## (.+)$", TEMPLATE, re.M)
    assert headings == [
        "While it goes on",
        "Summary",
        "Impact",
        "Timeline",
        "Mitigation",
        "Root cause",
        "What went well, what went badly, where we were lucky",
        "Follow-up",
    ]


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", TEMPLATE)
    assert links
    assert [link for link in links if not (FOLDER / link).exists()] == []
