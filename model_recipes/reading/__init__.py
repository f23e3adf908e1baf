"""How the reader stage teaches a base to read a code: what it draws, its losses, its loop and its judge."""
