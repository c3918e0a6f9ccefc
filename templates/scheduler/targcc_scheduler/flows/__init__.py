"""What a flow is: its steps, the small language of their conditions, and which of them go next. Standard library only."""
