"""Project of the storms in release 1; ``releases/`` holds the changes of later releases."""
