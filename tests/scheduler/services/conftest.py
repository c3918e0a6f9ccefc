"""What the tests of this room get."""

from alert_sinks import mail_server, mailbox
from runtime_fixtures import database, empty_database, make_scheduler, scheduler, settings
