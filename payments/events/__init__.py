"""What happened, written where it happened.

Others use `outbox.record` (an event and its deliveries, in the money's own transaction), `nudges`
(the hint after the commit) and `types` (what there is to hear of). Sending is `payments.webhooks`.
"""
