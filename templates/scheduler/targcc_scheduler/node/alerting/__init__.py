"""What follows alerts, done by whichever node comes first: recoveries, escalations, held messages, the digest."""
