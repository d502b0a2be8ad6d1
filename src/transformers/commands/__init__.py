"""Command lines, a file each."""
