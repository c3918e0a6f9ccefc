"""What jobs may ask for in their constructors."""
