"""What a run adds to a frozen base (LoRA, bottleneck adapters, biases, consistency), and what it trains."""
