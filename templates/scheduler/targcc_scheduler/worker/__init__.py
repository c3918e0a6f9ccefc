"""One attempt of a run: begin it, let the job work, decide what becomes of it, write it down."""
