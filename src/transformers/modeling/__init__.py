"""What a model is made of: starting values, loading, the load report, weights on disk, token embeddings."""
