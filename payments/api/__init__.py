"""HTTP: one file a resource, and the parts that all of them share. Flask lives here, not below.

A route is declared by `routing.route`, which names its guard, its typed input and answer, and its
refusals. `callers` says who is calling, `limits` whether they may now, `bodies` what they sent,
`idempotency` opens the unit of work, `problems` turns a refusal into an answer.
"""
