#!/usr/bin/env bash
# Builds the site of docs/ into site/, and checks every link and that no page loads anything from elsewhere.
#
#   bash scripts/docs.sh            site/index.html, which a browser opens from the disk too
#   bash scripts/docs.sh --serve    http://localhost:8000, while you write
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

project_environment dev
exec "$VENV/bin/python" "$ROOT/scripts/docs/build_site.py" "$@"
