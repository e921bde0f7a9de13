#!/usr/bin/env bash
# Builds version.wasm.
set -euo pipefail
cd "$(dirname "$0")"
clang --target=wasm32 -O2 -mbulk-memory -msign-ext -nostdlib -I../../../sdk/c \
	-Wl,--no-entry -Wl,-s -o "${1:-version.wasm}" version.c
