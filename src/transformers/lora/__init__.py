"""Low-rank adaptation (Hu et al., 2021): the layer, the adapter folder, the legacy file."""
