"""Operations on many runs: their rows, and what one step of them does."""
