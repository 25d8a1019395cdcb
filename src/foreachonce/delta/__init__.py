"""What the Delta sink is made of: the table's log read as a ledger, and rows committed with an entry."""
