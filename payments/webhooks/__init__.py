"""Telling merchants what happened: their endpoints, and the sending of what is owed to each.

`endpoints` and `deliveries` are what the API shows and changes. `drain` sends what is due: `claims`
leases it, `sender` makes the exchange with the address that `targets` has judged, `results` writes
down how it ended, by `schedule` and `breaker`. `sweep` is the clock's part. The rows are the truth;
a nudge (`events.nudges`) is a hint.
"""
