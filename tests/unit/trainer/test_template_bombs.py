"""Chat templates that would never end, take all memory, or reach out of their sandbox: each ends the run with a reason, soon."""

import importlib.util
import time
from types import SimpleNamespace

import pytest

from tunewright_trainer.bounded import TooMuch, bounded
from tunewright_trainer.data import template as template_module
from tunewright_trainer.data.rows import Message, Row, RowError
from tunewright_trainer.data.template import MAX_ADDED_CHARACTERS, ChatTemplate
from tunewright_trainer.errors import RunError, classify

ROW = Row((Message("user", "Question?"), Message("assistant", "Answer.")))
SOON = 0.3


def endless():
    while True:
        pass


def stubborn():
    """Swallow what comes once, as a library's `except Exception` would."""
    try:
        endless()
    except Exception:
        endless()


@pytest.mark.parametrize("work", [endless, stubborn, lambda: pow(10, 10**8), lambda: time.sleep(60)])
def test_work_without_end_is_ended(work):
    started = time.monotonic()
    with pytest.raises(TooMuch, match=r"ran for more than 0\.3 s"), bounded(SOON, 1 << 30):
        work()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("work", [lambda: "a" * 10**11, lambda: bytes(10**11), lambda: [0] * 10**11])
def test_memory_without_end_is_refused(work):
    with pytest.raises(TooMuch, match="took more than 64 MiB"), bounded(5, 64 << 20):
        work()


def test_nothing_is_left_behind():
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM)
    with pytest.raises(KeyError), bounded(0.1, 1 << 30):
        raise KeyError
    with bounded(0.1, 1 << 30):
        pass
    time.sleep(0.25)
    assert (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM)) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_thread_cannot_be_bounded():
    import threading

    caught = []

    def run():
        try:
            with bounded(1, 1 << 30):
                pass
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == ["only the main thread can be bounded"]


jinja = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is in the trainer's image")


def tokenizer(source):
    """Return what renders `source` just as a tokenizer of transformers does, without a vocabulary."""
    from transformers.utils.chat_template_utils import render_jinja_template

    def apply(turns, tokenize, add_generation_prompt):
        return render_jinja_template([turns], chat_template=source, add_generation_prompt=add_generation_prompt)[0][0]

    return SimpleNamespace(apply_chat_template=apply, eos_token="<end>", chat_template=source)


GOOD = "{% for m in messages %}[{{ m.role }}]{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"


@jinja
def test_a_good_template_renders_within_the_limits():
    rendered = ChatTemplate(tokenizer(GOOD)).render(ROW)
    assert (rendered.prompt, rendered.completion) == ("[user]Question?<end>[assistant]", "Answer.<end>")


BOMBS = {
    "endless loop": ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "ran for more than"),
    "range of a billion": ("{% for i in range(1000000000) %}{% endfor %}", "counts or calls too far"),
    "power tower": ("{{ 10 ** (10 ** 10) }}", "ran for more than"),
    "string of 100 GB": ("{{ 'a' * 100000000000 }}", "took more than"),
    "padding of 100 GB": ("{{ '%100000000000d' % 1 }}", ""),
    "doubling": ("{% set n = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}", "took more than"),
    "recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "counts or calls too far"),
    "long output": ("{{ 'abcdefghij' * 1000000 }}", "made 10000000 characters"),
    "nested too deep": ("{{ " + "(" * 10_000 + "1" + ")" * 10_000 + " }}", "counts or calls too far"),
}


@jinja
@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_ends_the_run_with_a_reason(monkeypatch, case):
    source, words = BOMBS[case]
    if words == "ran for more than":
        # Only there: on a busy machine a second may pass before the memory is taken.
        monkeypatch.setattr(template_module, "MAX_SECONDS", 1.0)
    started = time.monotonic()
    with pytest.raises((RunError, RowError)) as caught:
        ChatTemplate(tokenizer(source)).prompt(ROW.prompt)
    assert time.monotonic() - started < 10
    assert words in str(caught.value)
    if words:
        assert isinstance(caught.value, RunError)
        assert classify(caught.value).exit_code == 65, "the same model again would do the same"


ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('id') }}",
    "{{ self.__init__.__globals__ }}",
    "{{ messages.append({'role': 'user'}) }}",
    "{{ messages[0].update({'content': 'x'}) }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ raise_exception.__globals__['json'] }}",
    "{{ ''.format.__self__.__class__ }}",
    "{% set x = '{0.__class__.__mro__}'.format('') %}{{ x }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.system('id') }}",
)


@jinja
@pytest.mark.parametrize("source", ESCAPES)
def test_nothing_is_reached_from_the_sandbox(source):
    """Each is refused, or renders nothing of what it asks for."""
    messages = tuple(ROW.prompt)
    try:
        text = ChatTemplate(tokenizer(source)).prompt(messages)
    except (RowError, RunError):
        text = ""
    assert not any(word in text for word in ("uid=", "root:", "<class", "<module", "subclasses"))
    assert messages == tuple(ROW.prompt)


def test_the_time_limit_needs_no_library(monkeypatch):
    """The one rule that is checked without transformers too: a tokenizer that does not come back."""
    monkeypatch.setattr(template_module, "MAX_SECONDS", SOON)
    monkeypatch.setattr(template_module, "_template_error", lambda: KeyError)
    with pytest.raises(RunError, match=r"chat template ran for more than 0\.3 s") as caught:
        ChatTemplate(SimpleNamespace(apply_chat_template=lambda *_, **__: endless())).prompt(ROW.prompt)
    assert caught.value.reason == "UnsafeModel"
    with pytest.raises(RunError, match="characters of one row"):
        ChatTemplate(SimpleNamespace(apply_chat_template=lambda *_, **__: "a" * (MAX_ADDED_CHARACTERS + 1000))).prompt(ROW.prompt)
