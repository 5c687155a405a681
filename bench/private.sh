# The private Python environment of a peer, made on first use and again where its requirements have changed. Sourced:
#   here=FOLDER; . "$here/private.sh"; private NAME VARIABLE MEGABYTES WHAT [THEN]
# Sets `venv`: what VARIABLE names, or .tools/NAME-venv with requirements-NAME.txt, after which the function THEN is called
# with `pip` set. MEGABYTES are what the packages take, and what pip unpacks on the way.
private() {
  local name="$1" variable="$2" needed="$3" what="$4" and_then="${5:-true}"
  local requirements="$here/requirements-$name.txt" free
  venv="${!variable:-$here/../.tools/$name-venv}"
  if [ -n "${!variable:-}" ] || cmp -s "$requirements" "$venv/.requirements.txt"; then return; fi
  free="$(df -Pm "$here" | awk 'NR == 2 { print $4 }')"
  if [ "$free" -lt "$needed" ]; then
    echo "$name: needs $needed MB of free disk to install, here are $free" >&2
    exit 1
  fi
  echo "$name: installing $what into $(realpath -m "$venv") (about 3 GB)" >&2
  python3 -m venv "$(realpath -m "$venv")" # refuses a link
  pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check)
  "${pip[@]}" install -r "$requirements"
  "$and_then"
  cp "$requirements" "$venv/.requirements.txt"
}
