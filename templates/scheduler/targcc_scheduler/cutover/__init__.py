"""The cut-over from the old server: job by job, first in its shadow, then in its place, and back."""
