"""The history by month, where PostgreSQL keeps it: a partition of ``c_LoggedJob`` for each."""
