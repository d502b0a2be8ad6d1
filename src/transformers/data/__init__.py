"""From rows of a data set to batches."""
