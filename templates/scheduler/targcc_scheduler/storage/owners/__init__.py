"""Who runs a job: the old server or this one, and what became of the slots of jobs that only look on."""
