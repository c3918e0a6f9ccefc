"""What projects share, and what differs between the places where one of them runs."""
