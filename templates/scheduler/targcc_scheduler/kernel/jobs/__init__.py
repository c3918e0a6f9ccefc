"""Jobs: declaration, discovery, registry, arguments, result, context."""
