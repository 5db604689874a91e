"""A test bench that publishes telemetry with known truth. Operators never import it."""
