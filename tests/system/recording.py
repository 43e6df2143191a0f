"""A network that is recorded once and replayed: equal machines, and divergence noticed."""

import hashlib
import re
import tempfile
from pathlib import Path

import overlay
from doppel import expect, expect_output
from network import DHCP, DONE, MODULES, PAYLOAD, web_server

MAC = "52:54:00:12:34:56"


def state_hash(outcome):
    """The state's hash that a run printed."""
    found = re.findall(r"^state hash:? *([0-9a-fx]+)$", outcome.out + outcome.err, re.MULTILINE)
    expect(len(found) == 1, f"{len(found)} hashes: {outcome.err[-200:]}")
    return found[0]


def boot(doppel, image, net, words="doppel.exec=test", cpus=1):
    """One run on the instruction clock."""
    return doppel.boot("--clock", "instructions", "--net", f"{net},mac={MAC}", "--print-hash", image=image, words=words,
                       cpus=cpus, limit=300)


def record_and_replay(doppel, cpus, keys="", replayers=()):
    """DHCP, ping and a download while recording; then from the recording, with no server any more: twice on the same
    engine, or once on each of `replayers`.
    """
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording"
        with web_server() as web:
            script = DHCP + ("ping -c 2 10.0.2.2 || exit 1\n"
                             f"wget -q -O - http://10.0.2.2:{web}/ | md5sum\n")
            image = overlay.initrd(folder, MODULES, script)
            first = boot(doppel, image, f"user{keys},record={recording}", cpus=cpus)
        expect_output(first, DONE)
        expect_output(first, hashlib.md5(PAYLOAD).hexdigest())
        expect(recording.stat().st_size > len(PAYLOAD), "the download is not in the recording")
        for number, replayer in enumerate(replayers or (doppel, doppel), 1):
            again = boot(replayer, image, f"replay{keys},file={recording}", cpus=cpus)
            expect(again.status == first.status, f"replay {number}: status {again.status}: {again.err[-300:]}")
            expect(again.out == first.out, f"replay {number} prints something else")
            expect(state_hash(again) == state_hash(first), f"replay {number} has another hash")


def replays_are_equal(doppel):
    """One CPU."""
    record_and_replay(doppel, 1)


def replays_are_equal_with_four_cpus(doppel):
    """Four CPUs in turns, the packed ring and several queues."""
    record_and_replay(doppel, 4, ",ring=packed,queues=2")


def translator_recordings_replay_in_the_interpreter(doppel):
    """Four CPUs; what an engine keeps of the guest's code is no part of a recording."""
    record_and_replay(doppel.on("jit"), 4, ",queues=2", (doppel.on("interp"),))


def interpreter_recordings_replay_in_the_translator(doppel):
    """The other way round, and with the default engine."""
    record_and_replay(doppel.on("interp"), 4, ",transport=mmio,ring=packed", (doppel.on("jit"), doppel.on("auto")))


def divergence_is_reported(doppel):
    """A guest that sends something else is stopped where it does."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording"
        image = overlay.initrd(folder, MODULES, DHCP + "ping -c 1 10.0.2.2\n")
        boot(doppel, image, f"user,record={recording}")
        image = overlay.initrd(folder, MODULES, DHCP + "ping -c 1 -s 100 10.0.2.2\n")
        other = boot(doppel, image, f"replay,file={recording}")
        expect(other.status == 1, f"status {other.status}")
        expect(re.search(r"replay '.*': the guest.* frame \d+.* at \d+ ns", other.err), other.err[-300:])
        expect(DONE not in other.out, "the guest ran on")


def live_networks_are_refused(doppel):
    """What is not recorded does not enter a machine on the instruction clock, and the other way round."""
    with tempfile.TemporaryDirectory() as folder:
        refused = doppel.boot("--clock", "instructions", "--net", "user")
        expect(refused.status == 2 and "record=PATH" in refused.err, refused.err)
        refused = doppel.boot("--net", f"user,record={folder}/r")
        expect(refused.status == 2 and "--clock instructions" in refused.err, refused.err)
        (Path(folder) / "r").write_bytes(b"no recording")
        refused = doppel.boot("--clock", "instructions", "--net", f"replay,file={folder}/r")
        expect(refused.status == 1 and "no recording" in refused.err, refused.err)


TESTS = (replays_are_equal, replays_are_equal_with_four_cpus, translator_recordings_replay_in_the_interpreter,
         interpreter_recordings_replay_in_the_translator, divergence_is_reported, live_networks_are_refused)
