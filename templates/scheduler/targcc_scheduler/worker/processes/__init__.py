"""Worker processes: a job with ``isolation="process"`` runs in one, so that a crash, a leak or a hang costs that run alone."""
