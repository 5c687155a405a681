#!/usr/bin/env bash
# Runs a command beside a store that speaks S3 (moto, in a private environment that is made on first use); VISURF_S3 is its
# address:
#   oracle/s3.sh COMMAND [ARGUMENT]...
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$here/../.tools/s3-venv"
stamp="$venv/.requirements.txt"

if ! cmp -s "$here/requirements-s3.txt" "$stamp"; then
  echo "s3: installing moto into $(realpath -m "$venv") (about 140 MB)" >&2
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements-s3.txt"
  cp "$here/requirements-s3.txt" "$stamp"
fi

port="$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
"$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$venv/server.log" 2>&1 &
server=$!
trap 'kill $server' EXIT
export VISURF_S3="http://127.0.0.1:$port"
for _ in $(seq 100); do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    "$@"
    exit $?
  fi
  sleep 0.2
done
echo "s3: moto does not start; see $venv/server.log" >&2
exit 1
