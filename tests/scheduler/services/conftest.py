"""What the tests of this room get."""

from alert_sinks import mail_server, mailbox
