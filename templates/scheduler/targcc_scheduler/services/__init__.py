"""Services that jobs may ask for in their constructors."""
