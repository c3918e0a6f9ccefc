"""The ``classic`` shape of ``c_Job``, TARGCC 4's: a kind of schedule and a code in each row; results are written back."""
