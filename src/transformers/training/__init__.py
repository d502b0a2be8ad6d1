"""What the Trainer is made of, one part a file; ``transformers.trainer`` puts them together."""
