"""The version: upstream's, whose API this package re-creates, with the fork's own behind the plus sign (PEP 440)."""

__version__ = "4.4.2+lora.1.0"
