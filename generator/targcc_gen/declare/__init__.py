"""What the scheduler needs, declared where a project declares its own dependencies."""
