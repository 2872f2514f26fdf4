from __future__ import annotations

import signal
import threading

import pytest

from glow_core.training.stopping import StopSignals


@pytest.fixture
def handlers():
    """The handlers there are, put back afterwards whatever happens."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_handlers_come_back(handlers, number: signal.Signals) -> None:
    with StopSignals() as signals:
        assert signals.received is None
        signal.raise_signal(number)
        assert signals.received is number
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_a_second_ctrl_c_interrupts_and_a_second_sigterm_does_not(handlers) -> None:
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert signals.received is signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_outside_the_main_thread_nothing_is_installed(handlers) -> None:
    found = []

    def work() -> None:
        with StopSignals() as signals:
            found.append((signals.received, {number: signal.getsignal(number) for number in handlers}))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(None, handlers)]
