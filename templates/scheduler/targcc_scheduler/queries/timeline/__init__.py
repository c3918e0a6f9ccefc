"""See time: what comes and when it is crowded, what ran beside what was planned, how durations move, which hours are busy."""
