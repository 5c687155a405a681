#!/usr/bin/env bash
# Compiles the kernels for ARM (aarch64, NEON), runs them under emulation, and compares what they compute with this
# machine's. Says nothing about speed. Skipped where the tools are missing.
set -euo pipefail
cd "$(dirname "$0")/../packages/torch/native/kernels"

cross=${ARM_CXX:-aarch64-linux-gnu-g++}
emulator=${ARM_EMULATOR:-qemu-aarch64}
for tool in "${CXX:-c++}" "$cross" "$emulator"; do
  if ! command -v "$tool" >/dev/null; then
    echo "skipped: there is no $tool (Debian and Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user)"
    exit 0
  fi
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# As CMakeLists.txt has them.
flags=(-std=c++20 -O3 -Wall -Wextra -DVISURF_LEVEL=DEFAULT -fno-math-errno -fno-trapping-math -fassociative-math
  -fno-signed-zeros -freciprocal-math)
"${CXX:-c++}" "${flags[@]}" level.cc numbers.cc -o "$folder/here"
"$cross" "${flags[@]}" -static level.cc numbers.cc -o "$folder/there"
"$folder/here" write "$folder/numbers"
echo "aarch64 under $emulator:"
"$emulator" "$folder/there" compare "$folder/numbers"
