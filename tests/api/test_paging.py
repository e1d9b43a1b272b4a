"""Pages: each row once, newest first, with a cursor that is good for one list and one caller."""

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from payments import audit, db
from tests.api import echo
from tests.api.json_of import json_of


def fill(app, count: int) -> None:
    with app.app_context():
        for number in range(count):
            with db.unit_of_work():
                audit.record("test", f"n{number}", None)


def pages(client: FlaskClient, path: str, query: str) -> list[list[str]]:
    found, cursor = [], ""
    while True:
        answer = client.get(f"{path}?{query}{cursor}")
        assert answer.status_code == 200
        page = json_of(answer)
        found.append([row["action"] for row in page["data"]])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


@pytest.mark.parametrize(
    ("count", "limit", "sizes"),
    [(0, 3, [0]), (3, 3, [3]), (4, 3, [3, 1]), (7, 3, [3, 3, 1]), (5, 100, [5])],
)
def test_every_row_comes_once_newest_first(echo_app, operator, count, limit, sizes):
    fill(echo_app, count)
    found = pages(operator, "/admin/things", f"limit={limit}")
    assert [len(page) for page in found] == sizes
    assert [action for page in found for action in page] == [
        f"n{number}" for number in reversed(range(count))
    ]


def test_the_limit_is_20_when_left_out(echo_app, operator):
    fill(echo_app, 21)
    assert [len(page) for page in pages(operator, "/admin/things", "")] == [20, 1]


def test_rows_of_one_moment_are_told_apart_by_id(echo_app, operator):
    with echo_app.app_context(), db.unit_of_work():
        for number in range(5):
            audit.record("test", f"n{number}", None)  # all at the unit's time
    found = pages(operator, "/admin/things", "limit=2")
    assert sorted(action for page in found for action in page) == ["n0", "n1", "n2", "n3", "n4"]


def test_what_is_added_meanwhile_does_not_shift_the_pages(echo_app, operator):
    fill(echo_app, 4)
    first = operator.get("/admin/things?limit=2").json
    fill(echo_app, 3)
    second = operator.get(f"/admin/things?limit=2&cursor={first['next_cursor']}").json
    assert [row["action"] for row in second["data"]] == ["n1", "n0"]


def test_a_cursor_is_for_its_list_its_filters_and_its_caller(make_app):
    app = make_app(ADMIN_TOKEN="ann:" + "a" * 40 + ",bob:" + "b" * 40)
    app.register_blueprint(echo.blueprint())
    fill(app, 4)
    ann, bob = app.test_client(), app.test_client()
    ann.environ_base["HTTP_X_ADMIN_TOKEN"] = "a" * 40
    bob.environ_base["HTTP_X_ADMIN_TOKEN"] = "b" * 40
    cursor = ann.get("/admin/things?limit=2&reference=x").json["next_cursor"]
    for client, path, query in [
        (ann, "/admin/things", ""),
        (ann, "/admin/things", "reference=y&"),
        (ann, "/admin/others/a", "reference=x&"),
        (bob, "/admin/things", "reference=x&"),
    ]:
        answer = client.get(f"{path}?{query}cursor={cursor}")
        assert (answer.status_code, answer.json["code"]) == (422, "invalid_cursor")
    for limit in (1, 2, 100):  # the size of a page may change on the way
        assert (
            ann.get(f"/admin/things?limit={limit}&reference=x&cursor={cursor}").status_code == 200
        )


def test_a_cursor_of_one_path_does_not_fit_its_sibling(echo_app, operator):
    fill(echo_app, 4)
    cursor = operator.get("/admin/others/a?limit=2").json["next_cursor"]
    assert operator.get(f"/admin/others/a?cursor={cursor}").status_code == 200
    answer = operator.get(f"/admin/others/b?cursor={cursor}")
    assert answer.json["code"] == "invalid_cursor"


@pytest.mark.parametrize("change", ["", "x", "cut", "flip", "."])
def test_a_forged_cursor_is_refused(echo_app, operator, change):
    fill(echo_app, 4)
    cursor = operator.get("/admin/things?limit=2").json["next_cursor"]
    forged = {
        "": "",
        "x": "x" + cursor,
        "cut": cursor[:-1],
        "flip": cursor[:5] + ("A" if cursor[5] != "A" else "B") + cursor[6:],
        ".": ".",
    }[change]
    answer = operator.get(f"/admin/things?cursor={forged}")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_cursor")


def test_a_cursor_outlives_a_rotation_of_the_secret(make_app):
    old, new = "old-key-" + "0123456789abcdef" * 2, "new-key-" + "0123456789abcdef" * 2
    before = make_app(SECRET_KEY=old)
    before.register_blueprint(echo.blueprint())
    fill(before, 4)
    headers = {"X-Admin-Token": before.extensions["payments_settings"].admin_token[0].secret}
    cursor = before.test_client().get("/admin/things?limit=2", headers=headers).json["next_cursor"]
    for keys, status, counted in [
        (f"{old},{new}", 200, 0),
        (f"{new},{old}", 200, 1),
        (new, 422, 0),
    ]:
        uses = old_uses()
        app = make_app(SECRET_KEY=keys)
        app.register_blueprint(echo.blueprint())
        answer = app.test_client().get(f"/admin/things?limit=2&cursor={cursor}", headers=headers)
        assert answer.status_code == status
        assert old_uses() - uses == counted


def old_uses() -> float:
    """How often this process took a cursor that an old secret had signed."""
    name = "payments_old_secret_uses_total"
    return REGISTRY.get_sample_value(name, {"secret": "SECRET_KEY"}) or 0
