"""Who is told of what, for the project as a whole: alerts, quiet hours, escalation, the digest, who is on call."""
