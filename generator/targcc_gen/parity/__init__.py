"""Compare old and new run times: clock changes, readings of other schedulers, each job of an import."""
