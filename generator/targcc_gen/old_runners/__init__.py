"""The old runners as a reference: when TaskManager ran the rows of ``c_Job``. Nothing here knows the new schedules."""
