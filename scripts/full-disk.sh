#!/usr/bin/env bash
# Fills the disk: the store lies on a file system of 64 MB, once in memory and once ext4 in a file, and is written to until
# nothing fits any more; then it is held against what was acknowledged, with the disk full and after room was made.
#
#   sudo scripts/full-disk.sh [ROUNDS]        # 3 rounds by default; needs root to mount
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds="${1:-3}"
[[ $EUID -eq 0 ]] || { echo 'this needs root, to mount file systems' >&2; exit 2; }
cargo build --quiet --release --example pressed
binary="$(cargo metadata --no-deps --format-version 1 \
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/examples/pressed"
work="$(mktemp -d)"
finish() {
  umount "$work/disk" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
mkdir "$work/disk"

one_round() {
  local kind="$1"
  # Something that can be removed later, to make room.
  head -c 20M /dev/zero >"$work/disk/ballast"
  rm -f "$work/ledger"
  timeout 120 "$binary" write "$work/disk/store" "$work/ledger" >"$work/told" || { cat "$work/told"; return 1; }
  local acknowledged
  acknowledged="$(wc -l <"$work/ledger")"
  grep -q 'full' "$work/told" || { echo "$kind: writes did not fail for the full disk:"; cat "$work/told"; return 1; }
  local reads
  reads="$(tail -n 1 "$work/told")"
  # Full still: either it says that, or it opens and is whole.
  if ! "$binary" check "$work/disk/store" "$work/ledger" >"$work/told" && ! grep -q 'is full' "$work/told"; then
    echo "$kind: while it is full: $(cat "$work/told")"
    return 1
  fi
  local full
  full="$(cat "$work/told")"
  rm "$work/disk/ballast"
  "$binary" check "$work/disk/store" "$work/ledger" >"$work/told" || { echo "$kind: $(cat "$work/told")"; return 1; }
  echo "$kind: $acknowledged batches acknowledged before it was full; $reads; then: $full; with room: $(cat "$work/told")"
}

for ((round = 1; round <= rounds; round++)); do
  mount -t tmpfs -o size=64m tmpfs "$work/disk"
  one_round tmpfs
  umount "$work/disk"
  truncate -s 72M "$work/image"
  mkfs.ext4 -q -F "$work/image"
  mount -o loop "$work/image" "$work/disk"
  one_round ext4
  umount "$work/disk"
done
echo "all rounds passed"
