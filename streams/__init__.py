"""Stream operators and what runs them."""
