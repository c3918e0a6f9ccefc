"""Services that jobs receive in their constructors."""
