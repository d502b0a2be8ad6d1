"""Writes what upstream's `BitsAndBytesConfig` says of itself; runs in the reference environment.

Called with a file of configurations, a list of their arguments, and the file to write into.
"""

import json
import sys
from pathlib import Path

from transformers import BitsAndBytesConfig


def main(cases: str, result: str) -> None:
    """Make each configuration and ask it."""
    found = []
    for fields in json.loads(Path(cases).read_text()):
        bits = BitsAndBytesConfig(**fields)
        asked = [bits.is_quantizable(), bits.quantization_method(), bits.to_diff_dict()]
        found.append([*asked, json.loads(bits.to_json_string()), json.loads(bits.to_json_string(use_diff=False))])
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
