"""Parts of a configuration: the checks of its fields, and its labels."""
