"""Money between customers (`transfers`), and money that a sister service tells of (`deposits`)."""
