"""Inbox, issues, bulk operations, backfills, and reasons why a job or run does not run."""
