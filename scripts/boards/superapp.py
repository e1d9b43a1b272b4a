"""The dashboard of everybody else: how the shop goes and whether promises are kept."""

from scripts.boards.plan import WINDOW, Board, Limit, Panel, Query, Row, ask, objectives

ENDED = "succeeded|declined|canceled|expired"
DAY = "1d"


def _day(total: str, chosen: str = "") -> str:
    return f"sum(max without (instance) (increase({total}{chosen}[{DAY}])))"


def _minute(total: str, chosen: str = "", by: str = "status") -> str:
    return f"60 * max by ({by}) (rate({total}{chosen}[{WINDOW}]))"


def _promise(name: str) -> Panel:
    slo = objectives()[name]
    return Panel(
        f"{name.capitalize()}: {slo['objective']:g} % promised",
        f"The share of the last 3 days for which {slo['says']}.",
        ask(f"1 - payments:{name}:bad_ratio_259200"),
        kind="stat",
        unit="percentunit",
        width=6,
        height=6,
        limits=(Limit(round(slo["objective"] / 100, 6), above=False),),
        nothing="no traffic",
        lowest=None,
        decimals=2,
    )


TODAY = Row(
    "The last 24 hours",
    "Reconciliation and settlement",
    (
        Panel(
            "Payments that succeeded",
            "Captured, whole or in part.",
            ask(_day("payments_payments_total", '{status="succeeded"}')),
            kind="stat",
            width=5,
            height=6,
            decimals=0,
        ),
        Panel(
            "Volume",
            "What was captured, in minor units (cents), for each currency.",
            ask(
                "max by (currency)"
                f' (increase(payments_amount_minor_total{{status="succeeded"}}[{DAY}]))',
                "{{currency}}",
            ),
            kind="stat",
            unit="suffix: minor",
            width=5,
            height=6,
            decimals=0,
            shows="both",
        ),
        Panel(
            "Success",
            "Of the payments that came to an end. Declined, canceled and expired ones are people's"
            " own choices; a fault of ours is none of these.",
            ask(
                _day("payments_payments_total", '{status="succeeded"}')
                + " / "
                + _day("payments_payments_total", f'{{status=~"{ENDED}"}}')
            ),
            kind="stat",
            unit="percentunit",
            width=5,
            height=6,
            decimals=1,
            nothing="no payments",
        ),
        Panel(
            "Sign-ins",
            "One-time codes that were right.",
            ask(f'sum(increase(payments_otp_verifications_total{{outcome="success"}}[{DAY}]))'),
            kind="stat",
            width=4,
            height=6,
            decimals=0,
        ),
        Panel(
            "Webhooks on time",
            "Set out within 30 s of what they tell.",
            ask(
                _day("payments_webhook_first_attempts_total", '{on_time="true"}')
                + " / "
                + _day("payments_webhook_first_attempts_total")
            ),
            kind="stat",
            unit="percentunit",
            width=5,
            height=6,
            limits=(Limit(0.99, above=False),),
            decimals=1,
            nothing="no webhooks",
        ),
    ),
)

COURSE = Row(
    "How it goes",
    "Reconciliation and settlement",
    (
        Panel(
            "Payments a minute",
            "That came into each status.",
            ask(_minute("payments_payments_total"), "{{status}}"),
            unit="suffix:/min",
            width=12,
            height=9,
        ),
        Panel(
            "Volume a minute",
            "Captured, in minor units, by currency.",
            ask(
                _minute("payments_amount_minor_total", '{status="succeeded"}', "currency"),
                "{{currency}}",
            ),
            kind="areas",
            unit="suffix: minor",
            width=12,
            height=9,
        ),
        Panel(
            "Sign-ins a minute",
            "Codes asked for, and codes that were right.",
            (
                Query(f"60 * sum(rate(payments_otp_requests_total[{WINDOW}]))", "asked for"),
                Query(
                    "60 * sum(rate(payments_otp_verifications_total"
                    f'{{outcome="success"}}[{WINDOW}]))',
                    "signed in",
                ),
            ),
            unit="suffix:/min",
            width=12,
            height=8,
        ),
        Panel(
            "Webhooks a minute",
            "Attempts to endpoints that live, by how they ended.",
            ask(
                _minute("payments_webhook_live_attempts_total", by="outcome"),
                "{{outcome}}",
            ),
            kind="areas",
            unit="suffix:/min",
            width=12,
            height=8,
        ),
    ),
)

BOARD = Board(
    "superapp-overview",
    "superapp_overview.json",
    "Superapp overview: payments",
    "For the business and the sister teams: what is paid, and whether promises are kept.",
    "now-24h",
    (
        TODAY,
        Row(
            "What is promised",
            "Uptime and errors",
            tuple(_promise(name) for name in objectives()),
        ),
        COURSE,
    ),
)
