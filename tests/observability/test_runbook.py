"""The runbook has an entry for every alert, and no command or file that does not exist."""

import re

from scripts import alert_rules
from tests.observability.test_alert_rules import alerts
from tests.stories.test_readme import SHOWN_BY

RUNBOOK = (alert_rules.ROOT / alert_rules.RUNBOOK).read_text()


def test_every_alert_has_its_entry_and_no_entry_is_nobodys():
    headings = set(re.findall(r"^### (\w+)$", RUNBOOK, re.M))
    assert headings == {rule["alert"] for rule in alerts()}


def test_links_lead_to_entries():
    anchors = {heading.lower() for heading in re.findall(r"^#+ (.+)$", RUNBOOK, re.M)}
    links = set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK))
    assert links and links <= anchors


def test_every_command_is_one_that_tests_run():
    blocks = re.findall(r"```sh\n(.*?)```", RUNBOOK, re.S)
    lines = [line for block in blocks for line in block.splitlines() if line]
    commands = {re.sub(r"\s{2,}#.*", "", line) for line in lines}
    assert len(commands) > 5
    assert commands - set(SHOWN_BY) == set()


def test_every_file_it_names_is_there():
    named = set(re.findall(r"`((?:ops|scripts)/[\w./-]+)`", RUNBOOK))
    assert named
    assert [name for name in named if not (alert_rules.ROOT / name).exists()] == []
