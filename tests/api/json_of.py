"""The JSON of an answer, known to be there."""

from typing import Any

from werkzeug.test import TestResponse


def json_of(answer: TestResponse) -> Any:
    """The parsed body. Fails where the answer is no JSON."""
    assert answer.json is not None, answer.text
    return answer.json
