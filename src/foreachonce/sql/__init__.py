"""Databases: addresses, types, tables, the ledger, and the two ways in which rows travel."""
