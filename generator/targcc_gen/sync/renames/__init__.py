"""Managed files that moved take a person's edits along.

`table` says where each file went, `hunks` takes a person's text apart, `places` finds the place of each edit among the new files,
`imports` brings the names it needs, and `carry` puts these together.
"""
