#!/usr/bin/env bash
# Builds raw.wasm.
set -euo pipefail
cd "$(dirname "$0")"
clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,-s -o "${1:-raw.wasm}" raw.c
