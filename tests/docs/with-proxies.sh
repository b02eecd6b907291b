#!/usr/bin/env bash
# with-proxies.sh COMMAND...: run COMMAND with the reverse proxies of docs/start/team-server.md on PATH.
#
# Those of the machine are used as they are. On Debian, missing ones are unpacked from Debian's
# packages into the project's cache: nothing is installed and no service is started. Elsewhere the tests
# of the proxies say that they were NOT RUN.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cache=$root/.cache/proxies
export PATH=$PATH:$cache/root/usr/sbin:$cache/root/usr/bin
for program in nginx caddy; do
  command -v "$program" >/dev/null && continue
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || continue
  mkdir -p "$cache/root"
  (
    cd "$cache"
    apt-get download -qq "$program" >apt.log 2>&1 || { apt-get update -qq && apt-get download -qq "$program"; } >>apt.log 2>&1
    dpkg -x "$program"_*.deb root
  ) || echo "with-proxies: no $program, see $cache/apt.log" >&2
done
exec "$@"
