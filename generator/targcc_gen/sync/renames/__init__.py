"""Managed files that moved take a person's edits along.

`table` says where each file went, `hunks` finds the place of an edit among the new files, `imports` brings the names it needs, and
`carry` puts these together.
"""
