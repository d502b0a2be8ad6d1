"""What a model knows of its base: which parameters are its, and whether they are still the checkpoint's."""
