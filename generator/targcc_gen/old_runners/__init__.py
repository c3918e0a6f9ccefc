"""The old runners as a reference: the run times of TaskManager for rows of ``c_Job``. No module here imports the new schedules."""
