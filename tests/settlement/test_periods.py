"""What a typed period covers: months that are typed as the runbook types them meet."""

from datetime import timedelta

import pytest

from payments.clock import parse_rfc3339
from payments.settlement.periods import Period, period


def typed(start: str, last: str) -> Period:
    return period(parse_rfc3339(start), parse_rfc3339(last))


@pytest.mark.parametrize(
    ("last", "end"),
    [
        ("2025-09-30T23:59:59Z", "2025-10-01T00:00:00Z"),
        ("2025-09-30T23:59:59.999Z", "2025-10-01T00:00:00Z"),
        ("2025-09-30T23:59:59.999999Z", "2025-10-01T00:00:00Z"),
        ("2025-09-30T23:59:59.5Z", "2025-09-30T23:59:59.501Z"),
        ("2025-10-01T01:59:59+02:00", "2025-10-01T00:00:00Z"),
        ("2025-10-01T00:00:00Z", "2025-10-01T00:00:01Z"),
    ],
)
def test_the_last_moment_that_is_named_is_in_it(last, end):
    assert typed("2025-09-01T00:00:00Z", last).end == parse_rfc3339(end)


def test_months_meet():
    september = typed("2025-09-01T00:00:00Z", "2025-09-30T23:59:59Z")
    october = typed("2025-10-01T00:00:00Z", "2025-10-31T23:59:59Z")
    assert september.end == october.start


def test_a_single_second_is_a_period():
    one = typed("2025-09-01T00:00:00Z", "2025-09-01T00:00:00Z")
    assert one.end - one.start == timedelta(seconds=1)
    assert one.named() == {"from": "2025-09-01T00:00:00Z", "to": "2025-09-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("start", "last"),
    [
        ("2025-09-01T00:00:00Z", "2025-08-31T23:59:59Z"),
        ("2025-09-01T00:00:00.5Z", "2025-09-01T00:00:00.4Z"),
        ("2025-09-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    ],
)
def test_what_is_no_period_is_refused(start, last):
    with pytest.raises(ValueError, match="the end lies"):
        typed(start, last)


def test_it_is_provisional_until_all_units_of_its_time_have_ended():
    one = typed("2025-09-01T00:00:00Z", "2025-09-30T23:59:59Z")
    assert one.is_provisional(parse_rfc3339("2025-10-01T00:00:14.999999Z"))
    assert not one.is_provisional(parse_rfc3339("2025-10-01T00:00:15Z"))
