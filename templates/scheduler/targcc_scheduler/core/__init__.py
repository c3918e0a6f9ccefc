"""What every room may use: values, clocks, texts, errors. No statements, no web."""
