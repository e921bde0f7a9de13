#!/usr/bin/env bash
# Builds guest.wasm.
set -euo pipefail
cd "$(dirname "$0")"
clang --target=wasm32 -O2 -mbulk-memory -msign-ext -nostdlib -Wl,--no-entry -o "${1:-guest.wasm}" guest.c
