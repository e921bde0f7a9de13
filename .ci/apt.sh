# Read by other scripts here. apt PACKAGES... installs Debian packages where that
# is allowed without a password; what it prints is why it could not.
apt_updated=false
apt() {
	local run=()
	if ! command -v apt-get >/dev/null; then
		echo "no apt-get on this machine; install $* by its own means"
		return 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		if ! sudo -n true 2>/dev/null; then
			echo "needs root: sudo apt-get install $*"
			return 1
		fi
		run=(sudo -n)
	fi
	if ! $apt_updated; then
		"${run[@]}" apt-get update -qq >/dev/null 2>&1
		apt_updated=true
	fi
	DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
		{ echo "apt-get cannot install: $*"; return 1; }
}
