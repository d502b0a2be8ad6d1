"""DeBERTa's SentencePiece models, read and computed exactly: file, normaliser, unigram search, and their JSON form."""
