"""Pages that go on while things happen: a run's log, and webhooks."""
