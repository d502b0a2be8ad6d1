# Sourced by the scripts beside it: where the project is, and the environment it runs in.
# shellcheck shell=bash

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${LORA_VENV:-$ROOT/.venv}"
TORCH="torch==2.13.0" # pinned exactly: a looser range makes pip fetch several GB of CUDA packages on a CPU machine

say() { printf '\n== %s\n' "$*"; }
fail() {
  printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2
  exit 2
}

# Print a Python that is new enough.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "Python 3.11 or newer with the venv module was not found; install it, or name one: PYTHON=/path/to/python bash $0"
}

# make_environment FOLDER WHAT COMMAND...: make a virtual environment and run COMMAND in it to fill it, once; again only
# when WHAT (a text that describes the contents) has changed.
make_environment() {
  local folder="$1" what="$2"
  shift 2
  local stamp="$folder/.installed"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$what" ]; then
    return
  fi
  [ -x "$folder/bin/python" ] || "$(find_python)" -m venv "$folder" || fail "could not make the environment $folder"
  "$@" || fail "installing into $folder failed (see above); check the connection and the free space, then run this again"
  printf '%s' "$what" >"$stamp"
}

# install_project EXTRA: the project itself, editable, with one of its extras.
install_project() {
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$TORCH"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$ROOT[$1]"
}

# is_ours PYTHON: whether the package `transformers` of that Python is this project's.
is_ours() {
  "$1" -c 'import importlib.metadata as m, sys; sys.exit("+lora" not in m.version("transformers"))' 2>/dev/null
}

# check_package: fail where something has put another `transformers` into the project's environment, finished before.
check_package() {
  [ ! -f "$VENV/.installed" ] || is_ours "$VENV/bin/python" ||
    fail "another transformers stands in place of this project's in $VENV: packages that depend on upstream (setfit," \
      "sentence-transformers, adapters) put it there when they are installed. Keep them in an environment of their own;" \
      "to bring this project's back, run: $VENV/bin/python -m pip install --no-deps -e $ROOT"
}

# project_environment EXTRA: make the environment of the project.
project_environment() {
  check_package
  local what
  what="$1 $(cksum <"$ROOT/setup.py")"
  if [ "$1" = demo ] && [ -f "$VENV/.installed" ] && [ "$(cat "$VENV/.installed")" = "dev ${what#demo }" ]; then
    return # what development needs includes what the demo needs
  fi
  [ -f "$VENV/.installed" ] && [ "$(cat "$VENV/.installed")" = "$what" ] || say "Installing into $VENV (a minute or two)"
  make_environment "$VENV" "$what" install_project "$1"
}
