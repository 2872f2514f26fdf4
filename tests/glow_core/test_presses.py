"""Handlers that are put back while signals come, and presses that count as one."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from glow_core import presses
from glow_core.presses import SIGNALS, Presses, catch, held_back, put_back

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX has them")


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    for number, handler in before.items():
        signal.signal(number, handler)


def ignore(number, frame):
    pass


def test_a_key_held_down_is_one_press(monkeypatch):
    now = 100.0
    monkeypatch.setattr(presses.time, "monotonic", lambda: now)
    found = Presses()
    assert found.first is None
    assert not found.again(signal.SIGTERM)
    now += 0.4
    assert not found.again(signal.SIGINT)
    now += 0.2
    assert found.again(signal.SIGINT)
    assert found.first is signal.SIGTERM


def test_only_the_handlers_that_are_asked_for_are_taken_and_put_back(handlers):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    before = {}
    catch(ignore, only=callable, before=before)
    assert signal.getsignal(signal.SIGINT) is ignore
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert before == {signal.SIGINT: handlers[signal.SIGINT]}
    put_back(before)
    assert signal.getsignal(signal.SIGINT) == handlers[signal.SIGINT]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("at", [*SIGNALS, None])
def test_all_are_put_back_whenever_a_signal_comes(monkeypatch, at, masked):
    """Also where a signal is held back in vain, as another thread takes it."""

    def term(number, frame):
        pass

    signal.signal(signal.SIGTERM, term)
    signal.signal(signal.SIGHUP, term)
    before = {}
    catch(ignore, only=callable, before=before)
    real, pressed = signal.signal, []

    def then_a_press(number, handler):
        found = real(number, handler)
        if number == at and not pressed:
            pressed.append(number)
            signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(signal, "signal", then_a_press)
    if not masked:
        monkeypatch.delattr(signal, "pthread_sigmask")
    if at is None:
        put_back(before)
    else:
        with pytest.raises(KeyboardInterrupt):
            put_back(before)
    monkeypatch.undo()
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


def test_a_signal_that_is_held_back_comes_at_the_end():
    steps = []

    def work():
        with held_back():
            # To this thread: one of another library's, which holds nothing back, may take what the process gets.
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            steps.append("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["went on"]


def test_nothing_stays_held_back_after_a_handler_that_raises_at_once():
    code = (
        "import _signal, signal\n"
        "from glow_core.presses import held_back\n"
        "real = signal.pthread_sigmask\n"
        "def press(how, which):\n"
        "    found = real(how, which)\n"
        "    if which and how == signal.SIG_BLOCK: raise KeyboardInterrupt\n"
        "    return found\n"
        "signal.pthread_sigmask = press\n"
        "try:\n"
        "    with held_back(): print('never said')\n"
        "except KeyboardInterrupt: print(real(signal.SIG_BLOCK, ()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")
