"""What things are and how they behave: pure, without clock, I/O, logging or hidden randomness."""
