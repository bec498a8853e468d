#!/usr/bin/env bash
# Cuts the power, as far as that can be simulated: the store lies on a file system in a file; at a random moment under load
# the writer is stopped, the file is copied as it reached the block layer, and the copy is mounted and opened. At a random moment of
# that start the power is cut again.
#
#   sudo scripts/power-cut.sh [ROUNDS]        # 100 rounds by default; needs root for loop mounts
#
# Every batch that was acknowledged before the moment has to be there, whole, and the store has to open.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds="${1:-100}"
[[ $EUID -eq 0 ]] || { echo 'this needs root, to mount a file system in a file' >&2; exit 2; }
cargo build --quiet --release --example pressed
binary="$(cargo metadata --no-deps --format-version 1 \
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/examples/pressed"
work="$(mktemp -d)"
writer=
starting=
finish() {
  for process in $writer $starting; do
    kill -KILL "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  umount "$work/again" 2>/dev/null || true
  umount "$work/copied" 2>/dev/null || true
  umount "$work/disk" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
mkdir "$work/disk" "$work/copied" "$work/again"

new_disk() {
  truncate -s 512M "$work/image"
  mkfs.ext4 -q -F "$work/image"
  mount -o loop "$work/image" "$work/disk"
  rm -f "$work/ledger"
}

# Holds the store under a mount against what was acknowledged.
check() {
  if "$binary" check "$1/store" "$work/ledger.then" >"$work/told"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "round $round, $2: $(cat "$work/told")"
  fi
}

passed=0 failed=0
new_disk
for ((round = 1; round <= rounds; round++)); do
  # A disk serves a few rounds: most begin with what the ones before have left.
  if ((round % 5 == 0)); then
    umount "$work/disk"
    new_disk
  fi
  : >"$work/ready"
  "$binary" write "$work/disk/store" "$work/ledger" >"$work/ready" &
  writer=$!
  until grep -q ready "$work/ready"; do
    kill -0 "$writer" 2>/dev/null || { echo "round $round: the writer ended"; cat "$work/ready"; exit 1; }
    sleep 0.01
  done
  sleep "0.$((RANDOM % 9))$((RANDOM % 10))"
  kill -STOP "$writer"
  # What is in the ledger now was acknowledged before the power goes. It lies on another disk, and survives.
  cp "$work/ledger" "$work/ledger.then" 2>/dev/null || : >"$work/ledger.then"
  cp --sparse=always "$work/image" "$work/image.then"
  mount -o loop "$work/image.then" "$work/copied"
  "$binary" check "$work/copied/store" "$work/ledger.then" >/dev/null &
  starting=$!
  sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
  kill -STOP "$starting" 2>/dev/null || true
  cp --sparse=always "$work/image.then" "$work/image.again"
  kill -KILL "$starting" 2>/dev/null || true
  wait "$starting" 2>/dev/null || true
  starting=
  mount -o loop "$work/image.again" "$work/again"
  check "$work/again" 'cut again while it starts'
  umount "$work/again"
  check "$work/copied" 'cut under load, killed while it starts'
  umount "$work/copied"
  rm "$work/image.then" "$work/image.again"
  kill -KILL "$writer"
  wait "$writer" 2>/dev/null || true
  writer=
done
echo "$passed of $((2 * rounds)) checks: nothing that was acknowledged is missing, no half batch, it opens; $failed failed"
((failed == 0))
