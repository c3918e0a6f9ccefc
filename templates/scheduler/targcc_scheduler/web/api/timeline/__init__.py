"""The API of time: what comes, what ran beside what was planned, which hours are busy, how a job moves."""
