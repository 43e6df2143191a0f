"""A complete Debian with systemd: start, end, network and devices. Runs in QEMU too: tests/system/run --vmm qemu."""

import re

import debian_io
from debian_guest import Guest, full_guest
from doppel import expect, tail

# What the kernel says about the devices must not be worse than notice.
COMPLAINTS = r"virtio|vd[a-z]|I/O error|blk_update|NETDEV WATCHDOG|hung_task|soft lockup|rcu:.*stall|BUG:|Call Trace"
UPDATE_LIMIT = 300
# Succeeds as soon as logind has found the button's input device.
BUTTON_IS_WATCHED = ("i=0; until journalctl -b -u systemd-logind | grep -q 'Power Button'; do "
                     "sleep 1; i=$((i + 1)); [ $i -lt 60 ] || break; done; [ $i -lt 60 ]")


def boots_on(cpus):
    """A test that systemd starts everything on so many CPUs, and that poweroff inside ends with status 0."""
    def test(doppel):
        with Guest(doppel, cpus=cpus) as guest:
            guest.log_in()
            state = guest.run("systemctl is-system-running --wait", limit=240)[1]
            failed = guest.run("systemctl --failed --plain --no-legend --no-pager")[1]
            expect(state == "running" and not failed, f"the system is {state}; failed units: {failed!r}")
            expect(guest.output("nproc") == str(cpus), f"{guest.output('nproc')} CPUs instead of {cpus}")
            guest.type("systemctl poweroff\n")
            status = guest.wait_for_end()
            expect(status == 0, f"status {status} instead of 0; {tail(guest.talk.err())}")
    test.__name__ = f"debian_boots_and_powers_off_on_{cpus}_cpus"
    return test


def power_button_shuts_down(doppel):
    """The power button, pressed outside, lets systemd stop everything and ends with status 0."""
    with Guest(doppel) as guest:
        guest.log_in()
        guest.run("systemctl is-system-running --wait", limit=240)
        guest.output(BUTTON_IS_WATCHED, limit=90)
        guest.press_power_button()
        status = guest.wait_for_end()
        expect(status == 0, f"status {status} instead of 0; {tail(guest.talk.err())}")


def kernel_does_not_complain_of_devices(doppel):
    """No kernel message of level warning or worse about devices."""
    guest = full_guest(doppel)
    lines = guest.run(f"dmesg --level=emerg,alert,crit,err,warn | grep -E '{COMPLAINTS}'")[1]
    expect(not lines, lines)


def ssh_runs_a_command(doppel):
    """A command by ssh through the user-mode network's forwarded port."""
    status, text = full_guest(doppel).ssh("echo $((6 * 7)) $(hostname)")
    expect((status, text) == (0, "42 doppel"), f"status {status}: {text}")


def apt_updates(doppel):
    """apt-get in the guest reaches the package archive by name."""
    guest = full_guest(doppel)
    status, text = guest.run("apt-get -q update 2>&1", limit=UPDATE_LIMIT)
    expect(status == 0 and not re.search(r"^[EW]: ", text, re.MULTILINE), f"status {status}: {tail(text)}")
    expect("Packages" in text or "Hit:" in text, f"nothing fetched: {tail(text)}")


def stress_ng_verifies_on_all_cpus(doppel):
    """stress-ng finds no wrong result while all CPUs compute, map memory, switch and signal."""
    guest = full_guest(doppel)
    status, text = guest.run(f"cd /tmp && stress-ng --verify --timeout {debian_io.seconds(15, 120)} --cpu 4 --vm 2 "
                             "--vm-bytes 64M --switch 2 --signal 2 --futex 2 --mmap 1 --mmap-bytes 16M 2>&1", limit=600)
    expect(status == 0 and "fail:" not in text, f"status {status}: {tail(text)}")


TESTS = (*map(boots_on, (1, 2, 4)), power_button_shuts_down, ssh_runs_a_command, apt_updates,
         *debian_io.FIO_TESTS, *debian_io.NET_TESTS, stress_ng_verifies_on_all_cpus,
         kernel_does_not_complain_of_devices, *debian_io.REBIND_TESTS)
