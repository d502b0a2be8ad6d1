"""Adapters as folders and in a model: reading, writing, metadata, PEFT's form, switching, mixing, merging."""
