"""Where results rest; the only query text of the project lives here."""
