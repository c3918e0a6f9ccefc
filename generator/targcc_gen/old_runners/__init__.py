"""The old runners as a reference: when TaskManager ran the rows of ``c_Job``, by its own rules. Nothing here knows what they are translated to."""
