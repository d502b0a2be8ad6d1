# Sourced by the launchers, <model>_<task>.sh. Each sets SCRIPT (flags: the values of the original's launcher) and PAPER
# (those that the paper's table has otherwise, or the word none), and calls launch; launch.py does the rest.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

# The Python to run with: the one that LORA_PYTHON names, that of an active environment which this project is installed
# in, or else the project's own environment, made if missing.
find_environment() {
  if [ -n "${LORA_PYTHON:-}" ]; then
    return
  fi
  if [ -n "${CONDA_PREFIX:-}${VIRTUAL_ENV:-}" ]; then
    if is_ours python; then
      LORA_PYTHON="$(command -v python)"
      return
    fi
    echo "NOTE: the active environment (${VIRTUAL_ENV:-$CONDA_PREFIX}) has another transformers or none; running in $VENV" >&2
  fi
  project_environment demo
  LORA_PYTHON="$VENV/bin/python"
}

# launch FLAGS...: run this launcher; the flags win over its own.
launch() {
  find_environment
  exec "$LORA_PYTHON" "$ROOT/scripts/launch.py" "$(basename "$0" .sh)" "${SCRIPT[*]}" "${PAPER[*]-}" "$@"
}

# launch_as NAME FLAGS...: run SCRIPT under another name, and come back: for a script of several tasks.
launch_as() {
  local name="$1"
  shift
  find_environment
  "$LORA_PYTHON" "$ROOT/scripts/launch.py" "$name" "${SCRIPT[*]}" "${PAPER[*]-}" "$@"
}
