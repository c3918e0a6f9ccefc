"""Inbox, issues, bulk operations, backfill, "why does it not run?"."""
