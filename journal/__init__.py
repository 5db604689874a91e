"""The ordered record of every stream."""
