"""Settlement: what each merchant earned in a period, from the ledger's postings alone.

`periods` says what a typed period covers, `report` gives the rows. Everything is derived from why
entries were made, so a new kind of movement is never left out: it is an adjustment until it has a
column of its own.

`payouts` and `adjustments` move money by hand, by two operators (`proposals`).
"""
