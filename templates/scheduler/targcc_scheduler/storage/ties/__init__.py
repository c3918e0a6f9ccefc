"""What hangs on a run: who waits for it, its batch, its keys."""
