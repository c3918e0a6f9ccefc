"""The commands of a cut-over: who runs a job, how both sides stand, and the switch."""
