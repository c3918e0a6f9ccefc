"""Compare old and new run times: clock changes, cron dialects of other schedulers, each job of an import."""
