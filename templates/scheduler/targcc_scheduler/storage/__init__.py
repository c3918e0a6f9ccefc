"""Every table, and every statement that writes one."""
