"""One command (or group) a file, found by discovery."""
