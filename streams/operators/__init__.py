"""One operator a file, found by discovery: pure."""
