"""Boot an unmodified Debian kernel in the emulated host, in every way a user would.

usage: python3 -m boot.debian VMM SERIES [SCENARIO…]

One session of the emulated host per kernel series; when the host dies, the next one goes on where it was.  bzImage and vmlinux, one and two vCPUs: root on a read-write
ext4 disk, files written with checksums, power-off; afterwards the disk is examined from outside.  Once the VM is suspended
again and again meanwhile, and once the kernel starts another by kexec.  Then every way to reset, and a triple fault.  VMM_BOOT_LOOPS boots each of the disks more often; every boot checks what the
earlier ones wrote.
"""
import os
import shlex
import time
from dataclasses import dataclass

from boot.checks import (
    READ_ONLY, WRITE_FILES, Report, check_answers, check_file_system, check_files, check_status, read_text, show_log,
    sums_in,
)  # fmt: skip
from emulated.host import EmulatedHost, Outcome
from support.kernel import debian_kernel
from support.linux_guest import EMULATED_PARAMETERS, base_initrd, serial_arguments, write_initrd
from support.rootdisk import copy_disk, debian_root
from support.scratch import run_main, scratch_folder

BOOT_SECONDS = 240  # only a guard against hangs: ten seconds on a quiet machine, far more on a loaded one
HOSTS = 3  # so many may be needed
LEAST_SUSPENDS = 4  # of a VM that is suspended again and again


@dataclass(frozen=True)
class Scenario:
    """One way to boot: what kernel file, how many vCPUs, how it ends, and what vmm must then answer."""

    name: str
    image: str
    cpus: int
    end: str = "poweroff"
    status: int = 0
    parameters: str = ""
    writes: bool = False
    options: tuple = ()
    topology: str = ""
    is_suspended: bool = False  # again and again
    is_kexeced: bool = False  # in the midst of writes
    answers: tuple = ()  # lines that the guest must print


SCENARIOS = (
    Scenario("write-bzimage-1cpu", "bzImage", 1, writes=True),
    Scenario("write-bzimage-2cpu", "bzImage", 2, writes=True, options=("--no-smt",), answers=("siblings=0",)),
    Scenario("write-vmlinux-1cpu", "vmlinux", 1, writes=True),
    Scenario("write-vmlinux-2cpu", "vmlinux", 2, writes=True, topology="1:1:1:2",
             answers=("siblings=0", "package=0")),
    Scenario("write-vmlinux-4cpu", "vmlinux", 4, writes=True, topology="1:1:2:2",
             answers=("siblings=0", "package=0-1")),
    Scenario("write-suspended", "bzImage", 2, writes=True, is_suspended=True),
    Scenario("write-kexec", "bzImage", 1, writes=True, is_kexeced=True, answers=("kexeced=1",)),
    Scenario("reboot", "vmlinux", 1, "reboot", 32),
    Scenario("reboot-by-keyboard-controller", "vmlinux", 1, "reboot", 32, "reboot=k"),
    Scenario("reboot-by-port-cf9", "vmlinux", 1, "reboot", 32, "reboot=p"),
    Scenario("panic", "vmlinux", 2, "panic", 32),
    Scenario("panic-triple-fault", "vmlinux", 1, "panic", 33, "reboot=t"),
)

# Before WRITE_FILES: the first kernel starts a second one, with a disk busy and nothing unmounted.
KEXEC = """
if ! grep -q after-kexec /proc/cmdline; then
	cat /dev/vdb >/tmp/kernel
	cat /dev/vdc >/tmp/initrd
	kexec --load /tmp/kernel --initrd=/tmp/initrd --append="$(cat /proc/cmdline) after-kexec" || exit 1
	while :; do head -c 4000000 /dev/urandom >/root/noise; done &
	while :; do cat /dev/vdb >/dev/null; echo 1 >/proc/sys/vm/drop_caches; done &
	sleep 2
	kexec --exec
fi
echo "kexeced=$(grep -c after-kexec /proc/cmdline)"
"""

SHELL_PRELUDE = f"""#!/bin/sh
# boot NAME ARGUMENTS...: run vmm, leave its exit status in /out/NAME.status, send that and its output back
boot() {{
	name=$1
	shift
	started=$(cut -d. -f1 /proc/uptime)
	timeout -s KILL {BOOT_SECONDS} vmm run "$@" </dev/null >"/out/$name.stdout" 2>"/out/$name.stderr"
	echo $? >"/out/$name.status"
	touch "/out/$name.ended"
	(cd /out && save "$name".*)
	echo "$name: vmm exits with $(cat "/out/$name.status") after $(($(cut -d. -f1 /proc/uptime) - started)) s"
}}
# pad FILE COPY: a file as long as a disk may be
pad() {{
	dd if="$1" of="$2" bs=4096 conv=sync 2>/dev/null
}}
# suspend_often NAME: have the VM at /out/NAME.socket stand still now and then; count in /out/NAME.suspends
suspend_often() {{
	count=0
	while [ ! -e "/out/$1.ended" ]; do
		if vmm suspend "/out/$1.socket" 2>/dev/null; then
			sleep 0.3
			vmm resume "/out/$1.socket" && count=$((count + 1))
			echo $count >"/out/$1.suspends"
		fi
		sleep 0.7
	done
}}
"""


class DebianBoots:
    """The session: puts everything into the host, runs it, examines what came out."""

    def __init__(self, vmm, series, scenarios, loops, work):
        self.kernel = debian_kernel(series)
        self.scenarios = scenarios
        self.loops = loops
        self.work = work
        self.host = EmulatedHost(self.kernel)
        self.host.cargo.add_program(vmm, "usr/bin/vmm")
        self.host.cargo.add_path(self.kernel.bzimage, "guest/bzImage")
        self.host.cargo.add_path(self.kernel.vmlinux, "guest/vmlinux")
        self.results = work / "results"
        self.started = time.time()
        self.shared_disk = self.host.add_disk(debian_root(), "shared", is_readonly=True)
        self.disks = {}  # of scenarios that write: the image
        self.roots = {}  # what it is a copy of
        self.devices = {}  # and what it is in the host
        for scenario in scenarios:
            self._add_initrd(scenario)
            if scenario.writes:
                self.roots[scenario.name] = debian_root(("kexec-tools",)) if scenario.is_kexeced else debian_root()
                self.disks[scenario.name] = work / f"{scenario.name}.img"
                self.devices[scenario.name] = self.host.add_disk(self.disks[scenario.name], scenario.name[-20:])

    def script(self, scenarios):
        """The shell script that runs in the host."""
        lines = [SHELL_PRELUDE]
        for scenario in scenarios:
            device = self.devices.get(scenario.name)
            disk = ["--rwroot", device] if device else ["-r", self.shared_disk]
            for run in self._runs(scenario):
                if scenario.is_suspended:
                    lines.append(f"suspend_often {run} &")
                if scenario.is_kexeced:
                    lines.append(f"pad /guest/{scenario.image} /out/kexec-kernel")
                    lines.append(f"pad /{self._initrd_of(scenario)} /out/kexec-initrd")
                lines.append(shlex.join(["boot", run, *self._arguments(scenario, run, disk)]))
        return "\n".join(lines) + "\n"

    def _runs(self, scenario):
        """The names of the boots of a scenario."""
        return [f"{scenario.name}.{number}" for number in range(self.loops if scenario.writes else 1)]

    @staticmethod
    def _initrd_of(scenario):
        """Where it lies in the host; scenarios with the same job share one."""
        return f"guest/initrd-{scenario.end}-{'kexec' if scenario.is_kexeced else 'rw' if scenario.writes else 'ro'}"

    def _add_initrd(self, scenario):
        """Carry in the scenario's initrd."""
        command = WRITE_FILES if scenario.writes else READ_ONLY
        job = {"command": KEXEC + command if scenario.is_kexeced else command, "end": scenario.end}
        target = self._initrd_of(scenario)
        if target not in self.host.cargo.archive:
            path = write_initrd(self.work / "initrd", base_initrd(self.kernel), job)
            self.host.cargo.add_path(path, target)

    def _arguments(self, scenario, run, disk):
        initrd = f"/{self._initrd_of(scenario)}"
        parameters = ["-p", f"panic=-1 {EMULATED_PARAMETERS}"]
        if scenario.parameters:
            parameters += ["-p", scenario.parameters]
        ports = serial_arguments(f"/out/{run}.console", f"/out/{run}.output", f"/out/{run}.result")
        cpus = f"{scenario.cpus},topology={scenario.topology}" if scenario.topology else str(scenario.cpus)
        socket = ["-s", f"/out/{run}.socket"] if scenario.is_suspended else []
        if scenario.is_kexeced:  # the second kernel is the first one's, and so is its initrd
            disk = [*disk, "--block", "path=/out/kexec-kernel,ro", "--block", "path=/out/kexec-initrd,ro"]
        options = ["-c", cpus, "-m", "384", *socket, *scenario.options, *disk, "-i", initrd, *parameters, *ports]
        return [*options, f"/guest/{scenario.image}"]

    def _is_done(self, scenario):
        """All boots of it have ended, in whatever way."""
        return all(read_text(self.results / f"{run}.status") for run in self._runs(scenario))

    def _prepare(self, scenario):
        """A fresh disk, and nothing of an earlier try."""
        for path in self.results.glob(f"{scenario.name}.*"):
            path.unlink()
        if scenario.writes:
            copy_disk(self.roots[scenario.name], self.disks[scenario.name])

    def run(self):
        """Run all there is, in one host if it lives so long; the outcome lists the hosts."""
        outcome = Outcome(results=self.results)
        todo = self.scenarios
        for scenario in todo:
            self._prepare(scenario)
        end_s = time.monotonic() + 300 + 120 * sum(len(self._runs(scenario)) for scenario in todo)
        while todo:
            self.host.run_once(self.script(todo), outcome, end_s - time.monotonic())
            todo = [scenario for scenario in todo if not self._is_done(scenario)]
            is_last = len(outcome.attempts) == HOSTS or time.monotonic() >= end_s
            if not outcome.has_no_answer() or is_last:
                break
            for scenario in todo:
                self._prepare(scenario)
        return outcome

    def examine(self, report):
        """A case for each boot, and one for each disk."""
        results = self.results
        for scenario in self.scenarios:
            output = ""
            for run in self._runs(scenario):
                output = read_text(results / f"{run}.output")
                problems = self._problems_of(scenario, run, output)
                report.case(run, problems, [results / f"{run}.{kind}" for kind in ("stderr", "console", "output")])
            if scenario.writes:
                image = self.disks[scenario.name]
                problems = check_file_system(image)
                problems += check_files(image, "/root/data", sums_in(output), self.work / f"{scenario.name}.files")
                report.case(f"{scenario.name}: the disk from outside", problems)

    def _problems_of(self, scenario, run, output):
        results = self.results
        status = read_text(results / f"{run}.status").strip()
        problems = check_status(int(status) if status else None, scenario.status)
        result = read_text(results / f"{run}.result").strip()
        if result != "0":
            problems.append(f"the guest's script ended with {result or 'nothing'}, not 0")
        suspends = int(read_text(results / f"{run}.suspends") or "0")
        if scenario.is_suspended and suspends < LEAST_SUSPENDS:
            problems.append(f"it was suspended {suspends} times, not {LEAST_SUSPENDS} or more")
        if scenario.writes:
            problems += check_answers(output, self.kernel.release, scenario.cpus, self.started)
        lines = output.replace("\r", "").split("\n")
        problems += [f"the guest does not say {line}" for line in scenario.answers if line not in lines]
        return problems


def main(arguments):
    vmm, series, *names = arguments
    scenarios = [scenario for scenario in SCENARIOS if not names or scenario.name in names]
    loops = int(os.environ.get("VMM_BOOT_LOOPS", "1"))
    report = Report()
    with scratch_folder("boot") as work:
        boots = DebianBoots(vmm, series, scenarios, loops, work)
        outcome = boots.run()
        print(f"Debian kernel {boots.kernel.release}")
        for attempt in outcome.attempts:
            print(f"emulated host: {attempt}")
        if outcome.has_no_answer():
            show_log(work / "results/console.log", 40)
        boots.examine(report)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
