"""RoBERTa: configuration, model, tokenizer."""
