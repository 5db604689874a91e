"""How the tables of records came to be, one file a step."""
