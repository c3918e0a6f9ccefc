"""Commands that show time: what comes, what ran, which hours are busy, how a job moves."""
