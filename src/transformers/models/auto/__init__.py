"""Auto classes: the model type in a configuration chooses the class."""
