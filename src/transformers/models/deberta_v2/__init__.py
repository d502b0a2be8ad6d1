"""DeBERTa-V2 and V3: configuration, model, tokenizer."""
