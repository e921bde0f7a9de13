#!/usr/bin/env bash
# Builds faulty.wasm with its debug information, without names of this machine.
set -euo pipefail
cd "$(dirname "$0")"
sdk=$(cd ../../sdk/c && pwd)
clang --target=wasm32 -g -O1 -mbulk-memory -msign-ext -nostdlib -I"$sdk" \
	-ffile-prefix-map="$PWD"=. -ffile-prefix-map="$sdk"=sdk -Wl,--no-entry -o "${1:-faulty.wasm}" faulty.c
