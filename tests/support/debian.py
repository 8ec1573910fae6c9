"""Debian packages, fetched through an apt of our own.

apt checks the archive's signatures and every package's hash; its sources, lists and downloads live in our cache,
so the machine's own apt configuration is neither used (its proxy settings excepted) nor changed, and root is not
needed.  VMM_DEBIAN_MIRROR names another mirror than deb.debian.org.  Packages are of Debian 12 unless another
release is asked for.
"""
import os
import re
import subprocess
from pathlib import Path

from support.cache import cache_root, locked, note

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
RELEASE = "bookworm"


class AptError(RuntimeError):
    """apt failed; the text says which command and what it answered."""


def _sources(release):
    mirror = os.environ.get("VMM_DEBIAN_MIRROR", "http://deb.debian.org").rstrip("/")
    signed = f"deb [signed-by={KEYRING}] {mirror}"
    if release == "sid":  # it has neither updates nor security fixes of its own
        return f"{signed}/debian sid main\n"
    return (
        f"{signed}/debian {release} main\n"
        f"{signed}/debian {release}-updates main\n"
        f"{signed}/debian-security {release}-security main\n"
    )


def _inherited_settings():
    """The machine's proxy and clock settings for apt: the ones without which a download may not work at all."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    wanted = re.compile(r"^Acquire::(\S*Proxy\S*|Check-Valid-Until|Check-Date|ForceIPv[46]) ", re.IGNORECASE)
    return "".join(f"{line}\n" for line in dump.splitlines() if wanted.match(line))


def _the_one(folder, pattern):
    """The file in @folder that apt says it has fetched."""
    for path in folder.glob(pattern):
        return path
    raise AptError(f"{pattern} is not there: the download was cut short")


class Apt:
    """A private apt.  Its package lists are refreshed once per object, when first needed."""

    def __init__(self, release=RELEASE):
        self.release = release
        self.home = cache_root() / ("apt" if release == RELEASE else f"apt-{release}")
        self.is_fresh = False

    def _configure(self):
        for folder in ("etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        (self.home / "state/status").touch()
        (self.home / "etc/sources.list").write_text(_sources(self.release), encoding="utf-8")
        # An empty status file makes apt resolve from nothing, as for a new root; so nothing is "essential" either.
        (self.home / "apt.conf").write_text(
            f'Dir "{self.home}/";\n'
            'Dir::Etc "etc";\nDir::State "state";\nDir::Cache "cache";\n'
            f'Dir::State::status "{self.home}/state/status";\n'
            'APT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\n'
            'APT::Sandbox::User "";\nAPT::Install-Recommends "false";\nAcquire::Languages "none";\n'
            'Acquire::Retries "3";\npkgCacheGen::Essential "none";\npkgCacheGen::ForceEssential ",";\n'
            + _inherited_settings(),
            encoding="utf-8",
        )

    def run(self, *command, cwd=None):
        """Run an apt @command with our configuration; its standard output."""
        environment = {**os.environ, "APT_CONFIG": str(self.home / "apt.conf"), "LC_ALL": "C"}
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AptError(f"{' '.join(command[:3])}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def refresh(self):
        """Fetch the package lists, once."""
        if not self.is_fresh:
            note(f"reading the package lists of Debian {self.release}")
            self._configure()
            self.run("apt-get", "update", "-q")
            self.is_fresh = True

    def newest_kernel(self, series):
        """The package with Debian's newest cloud kernel of @series ("6.1", "6.12")."""
        self.refresh()
        pattern = rf"^linux-image-{re.escape(series)}\..*-cloud-amd64$"
        names = self.run("apt-cache", "pkgnames", "linux-image-").split()
        found = [name for name in names if re.match(pattern, name)]
        if not found:
            raise AptError(f"no linux-image-{series}.*-cloud-amd64 in the archive")
        return max(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])

    def download(self, package, folder):
        """The .deb of one @package, put into @folder."""
        self.refresh()
        note(f"fetching {package}")
        self.run("apt-get", "download", "-q", package, cwd=folder)
        return _the_one(Path(folder), f"{package}_*.deb")

    def download_with_dependencies(self, packages):
        """The .debs of @packages and of everything they depend on."""
        self.refresh()
        with locked(self.home.name):
            listing = self.run("apt-get", "install", "-q", "-y", "--print-uris", *packages)
            names = re.findall(r"^'\S+' (\S+\.deb) \d+", listing, re.MULTILINE)
            if names:
                note(f"fetching {len(names)} packages of Debian {self.release}")
            self.run("apt-get", "install", "-q", "-y", "--download-only", *packages)
        archives = self.home / "cache/archives"
        # What is in the cache already is not printed with an address: ask for all that would be installed.
        plan = self.run("apt-get", "install", "-q", "-y", "--simulate", *packages)
        wanted = dict(re.findall(r"^Inst (\S+) \((\S+) ", plan, re.MULTILINE))
        found = []
        for name, version in wanted.items():
            version = version.replace(":", "%3a")
            found += [_the_one(archives, f"{name}_{version}_*.deb")]
        return found


def unpack(package, tree):
    """Put the files of the .deb @package into @tree, documentation and translations left out."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
        left_out = [f"--exclude=./usr/share/{name}/*" for name in ("doc", "man", "locale", "info", "lintian")]
        extract = ["tar", "-x", "-C", tree, "--keep-directory-symlink", "--no-same-owner", "-p", *left_out]
        subprocess.run(extract, stdin=archive.stdout, check=True)
    if archive.returncode:
        raise AptError(f"{package}: damaged")


def unpack_all(packages, tree):
    """Unpack all @packages into the folder @tree, whose /bin, /sbin and /lib are parts of /usr."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for package in packages:
        unpack(package, tree)
