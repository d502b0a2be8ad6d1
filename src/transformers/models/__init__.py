"""The model types, a folder each."""
