"""What an app's file says, and how it is imported."""
