"""What ties runs together: jobs that come after others, runs of which one is enough, runs that expire."""
