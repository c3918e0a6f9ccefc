"""What commands print: plans, progress, jobs and their schedules."""
