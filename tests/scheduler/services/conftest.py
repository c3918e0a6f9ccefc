"""Fixtures for the service tests."""

from alert_sinks import mail_server, mailbox
