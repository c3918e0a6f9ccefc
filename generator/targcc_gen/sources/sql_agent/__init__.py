"""SQL Server Agent: scripts of jobs, and the tables of msdb."""
