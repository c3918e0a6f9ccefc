"""Flows under way: rows of ``c_JobBatch`` of the kind ``flow``, and what the ends of their runs mean."""
