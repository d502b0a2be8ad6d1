"""Heads, a task a file: what is scored, its loss, its names in the checkpoint, how its adapter is described."""
