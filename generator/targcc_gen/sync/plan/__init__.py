"""What happens to each file, and why: the planner asks the rules about every path and gathers a Plan."""
