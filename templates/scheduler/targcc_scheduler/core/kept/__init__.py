"""What is kept of what jobs say: limits, texts, tracebacks and metadata that can be stored whatever they were."""
