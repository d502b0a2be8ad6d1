"""BERT's tokenizer: RoBERTa-layout checkpoints with a WordPiece vocabulary exist."""
