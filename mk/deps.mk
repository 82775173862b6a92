# SPDX-License-Identifier: MIT
# What the project needs from Debian's packages: one list a purpose.
# `make deps` installs everything as root, and names what is missing for anybody else.

DEPS_BUILD := gcc make libc6-dev binutils libzydis-dev libjson-c-dev libseccomp-dev libcap-ng-dev \
	zlib1g-dev liblzma-dev libzstd-dev liblz4-dev
DEPS_GUEST := cpio zstd dpkg
DEPS_TEST := libcmocka-dev gcc-multilib qemu-system-x86 acpica-tools busybox-static socat \
	jq crun runc podman buildah containerd containernetworking-plugins curl protobuf-compiler \
	golang-github-containers-common \
	iproute2 procps util-linux systemd

.PHONY: deps deps-run
deps:
	@$(call deps-ensure,$(DEPS_BUILD) $(DEPS_GUEST) $(DEPS_TEST))
deps-run:
	@$(call deps-ensure,$(DEPS_BUILD) $(DEPS_GUEST))

# One query of the package database; without dpkg (another distribution) the compiler will say what it lacks.
define deps-ensure
command -v dpkg-query >/dev/null || exit 0; \
missing=$$(dpkg-query -W -f='$${Package} $${db:Status-Status}\n' $(1) 2>/dev/null | \
	awk -v want='$(1)' '$$2 == "installed" { have[$$1] = 1 } \
	END { n = split(want, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) printf "%s ", w[i] }'); \
[ -n "$$missing" ] || exit 0; \
if [ "$$(id -u)" != 0 ]; then \
	echo "missing Debian packages: $$missing- as root: apt-get install $$missing" >&2; exit 1; \
fi; \
echo "installing $$missing"; \
export DEBIAN_FRONTEND=noninteractive; \
apt-get -qq -o DPkg::Lock::Timeout=300 update || echo "apt-get update failed, going on with the lists at hand" >&2; \
apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $$missing >$${TMPDIR:-/tmp}/penumbra-deps.$$$$ 2>&1 || \
	{ cat $${TMPDIR:-/tmp}/penumbra-deps.$$$$ >&2; rm -f $${TMPDIR:-/tmp}/penumbra-deps.$$$$; exit 1; }; \
rm -f $${TMPDIR:-/tmp}/penumbra-deps.$$$$
endef
