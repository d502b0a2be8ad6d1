"""What a tokenizer is made of, one part a file; ``transformers.tokenization_utils_base`` puts them together."""
