"""Create, stage, claim, settle and prune the rows of runs; write their history."""
