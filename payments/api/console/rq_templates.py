"""rq-dashboard's templates, read so that no text can leave its place in them.

Theirs put values bare into scripts (Jinja escapes no `.js`), and Underscore's `<%= %>` escapes
nothing in the rows that it draws from JSON: the name of a queue, also one in a link, and what a job
says would be code. Here each value within a script is JSON and each that is drawn is escaped,
whatever their next release adds.
"""

import re
from collections.abc import Callable

from jinja2 import BaseLoader, Environment, FileSystemLoader

_SCRIPT = re.compile(r"(?:\.js|inline_js\.html)\Z")
_VALUE = re.compile(r"""(?P<quote>['"]?)\{\{-?\s*(?P<said>.+?)\s*-?\}\}(?P=quote)""")
_THROUGH_TEXT = re.compile(r"<%=\s*\$\('<div/>'\)\.text\((?P<said>[^()]+)\)\.html\(\)\s*%>")


class Escaping(BaseLoader):
    """Their templates from this folder, made safe."""

    def __init__(self, folder: str) -> None:
        self._theirs = FileSystemLoader(folder)

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """The template's text."""
        text, path, is_fresh = self._theirs.get_source(environment, template)
        return safe(template, text), path, is_fresh

    def list_templates(self) -> list[str]:
        """Their names."""
        return self._theirs.list_templates()


def safe(name: str, text: str) -> str:
    """The template, with JSON in its scripts, and nothing drawn unescaped."""
    if _SCRIPT.search(name):
        text = _VALUE.sub(lambda found: f"{{{{ ({_plain(found['said'])})|tojson }}}}", text)
        # A path of theirs that there is not: it would ask for a page, which the policy blocks.
        text = text.replace("url_for('rq-instances')", "url_for('queues')")
    text = _THROUGH_TEXT.sub(lambda found: f"<%- {found['said']} %>", text)
    return text.replace("<%=", "<%-")


def _plain(said: str) -> str:
    """The expression, without the filters that we end it with."""
    return re.sub(r"(\s*\|\s*(tojson|safe))+\Z", "", said)
