"""How runs ended, added up by quarters of an hour: the rows of ``c_JobStat``."""
