"""The databases' drivers: statements that they execute themselves."""
