"""Project whose other jobs stay in the old `c_Job`."""
