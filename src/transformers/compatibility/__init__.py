"""Names that only older scripts, accelerate or PEFT look for."""
