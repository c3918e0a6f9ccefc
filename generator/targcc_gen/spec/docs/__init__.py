"""What editors and the manual are told of the spec: its JSON Schema and its reference page."""
