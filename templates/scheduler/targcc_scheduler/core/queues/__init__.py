"""The order in queues and between them: workers that queues share, whose turn it is, and what waiting is worth."""
