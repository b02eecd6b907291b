#!/usr/bin/env bash
# with-docker.sh COMMAND...: run COMMAND with a Docker engine, Compose v2 and a base image there.
#
# What the machine has is used as it is. On Debian as root, what is missing is installed from Debian's
# packages (the Compose and buildx plugins from the next release, into the project's cache), an
# engine that does not run is started, and stopped again at the end. Where no image can be pulled,
# debootstrap makes the base image. Exit code 3: this machine cannot have a Docker engine; it says why.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=$PWD/.cache/docker
mkdir -p "$cache"

impossible() {
  echo "docker tests: not possible here: $*" >&2
  exit 3
}
say() { echo "docker tests: $*" >&2; }

need_debian_root() {
  [ "$(id -u)" = 0 ] || impossible "$1 is missing, and only root can install it"
  command -v apt-get >/dev/null || impossible "$1 is missing, and this is not a Debian"
}

install() { # PROGRAM PACKAGE...
  local program=$1
  shift
  command -v "$program" >/dev/null && return
  need_debian_root "$program"
  say "installing $*"
  apt-get update -qq >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >"$cache/apt.log" 2>&1 ||
    impossible "apt-get install $* failed, see $cache/apt.log"
}

mirror() { # the Debian mirror that this machine uses
  { sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources
    sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\).*/\2/p' /etc/apt/sources.list; } 2>/dev/null |
    grep -E '/debian/?$' | head -n 1
}

plugins() {
  docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1 && return
  export DOCKER_CONFIG=$cache/config # plugins of the project's own; nothing in the home folder
  docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1 && return
  need_debian_root "Docker's Compose plugin"
  say "unpacking the Compose and buildx plugins"
  local apt=$cache/apt
  mkdir -p "$apt/lists/partial" "$DOCKER_CONFIG/cli-plugins"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) trixie main" >"$apt/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::Lists=$apt/lists")
  apt-get "${options[@]}" update -qq
  (cd "$apt" && apt-get "${options[@]}" download -qq docker-compose docker-buildx 2>/dev/null)
  for package in "$apt"/*.deb; do dpkg -x "$package" "$apt/unpacked"; done
  cp "$apt"/unpacked/usr/libexec/docker/cli-plugins/* "$DOCKER_CONFIG/cli-plugins/"
  docker compose version >/dev/null 2>&1 || impossible "the Compose plugin does not run"
}

engine() {
  docker info >/dev/null 2>&1 && return
  need_debian_root "a running Docker engine"
  say "starting the Docker engine"
  setsid dockerd >"$cache/dockerd.log" 2>&1 </dev/null &
  dockerd_pid=$!
  for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && return
    kill -0 "$dockerd_pid" 2>/dev/null || impossible "dockerd ended: $(tail -n 1 "$cache/dockerd.log")"
    sleep 0.5
  done
  impossible "dockerd did not answer within 30 s, see $cache/dockerd.log"
}

base_image() {
  local wanted=${PYTHON_IMAGE:-python:3.12-slim-bookworm}
  docker image inspect "$wanted" >/dev/null 2>&1 && { export PYTHON_IMAGE=$wanted; return; }
  if timeout 120 docker pull -q "$wanted" >/dev/null 2>&1; then export PYTHON_IMAGE=$wanted; return; fi
  export PYTHON_IMAGE=local-ai-suite/test-base:bookworm
  docker image inspect "$PYTHON_IMAGE" >/dev/null 2>&1 && return
  say "$wanted cannot be pulled; making $PYTHON_IMAGE with debootstrap"
  install debootstrap debootstrap
  local root
  root=$(mktemp -d "$cache/root.XXXXXX")
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" \
    "$(mirror)" >"$cache/debootstrap.log" 2>&1 || impossible "debootstrap failed, see $cache/debootstrap.log"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,locale,man}/*
  # The certificates that this machine trusts, a company's proxy among them.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  tar -C "$root" -c . | docker import - "$PYTHON_IMAGE" >/dev/null
  rm -rf "$root"
}

dockerd_pid=
stop_engine() {
  [ -n "$dockerd_pid" ] || return 0
  kill "$dockerd_pid" 2>/dev/null || true
  for _ in $(seq 60); do kill -0 "$dockerd_pid" 2>/dev/null || return 0; sleep 0.5; done
  kill -9 "$dockerd_pid" 2>/dev/null || true
}
trap stop_engine EXIT

# An engine elsewhere (Docker Desktop, DOCKER_HOST) needs no dockerd here.
docker info >/dev/null 2>&1 || install dockerd docker.io iptables
engine
plugins
base_image
say "engine $(docker version --format '{{.Server.Version}}'), $(docker compose version --short), base $PYTHON_IMAGE"
"$@"
