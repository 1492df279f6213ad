# What happens in a run of a playbook, on disk before anything follows from it: one JSON object a line.
#
# AstraDesk writes this file beside each run and names it as the callback plugin of standard output. The journal is how a run is
# watched, and how it is found out what became of one whose watcher has died: so what cannot be put in it must not happen.

DOCUMENTATION = """
name: astradesk
type: stdout
short_description: AstraDesk's journal of a playbook
description: Keeps a journal of what happens, for AstraDesk.
"""

import atexit
import json
import os
import signal
import threading

from ansible.plugins.callback import CallbackBase

# The most bytes of results, and the most characters of what a result says and of what it changes.
MOST = 8 * 1024 * 1024
SAID = 2000
DIFF = 4000


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "astradesk"

    def __init__(self):
        super().__init__()
        path = os.environ["ASTRADESK_JOURNAL"]
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._written = 0
        self._left_out = 0
        self._ended = False
        atexit.register(self._exit)

    def _keep(self, event, always=True, **facts):
        line = (json.dumps({"event": event, **facts}) + "\n").encode()
        with self._lock:
            if not always and self._written + len(line) > MOST:
                self._left_out += 1
                return
            self._written += len(line)
            while line:
                line = line[os.write(self._file, line):]
            os.fdatasync(self._file)

    def _insist(self, event, **facts):
        # Ansible goes on when a callback fails.
        try:
            self._keep(event, **facts)
        except BaseException:
            os.killpg(os.getpgrp(), signal.SIGKILL)

    def _exit(self):
        if os.getpid() == self._process and not self._ended:
            self._insist("exit")

    def _result(self, state, result, ignored=False):
        try:
            facts = self._facts(result._result)
        except Exception as error:
            facts = {"said": "its result cannot be told: %s" % type(error).__name__}
        host, task = result._host.get_name(), result._task.get_name()
        self._insist("result", always=False, state=state, host=host, task=task, ignored=bool(ignored), **facts)

    def _facts(self, result):
        facts = {"changed": bool(result.get("changed", False))}
        said = [result] + [item for item in result.get("results") or [] if isinstance(item, dict) and item.get("failed")]
        said = [str(one[key]).strip() for one in said for key in ("msg", "reason", "stderr", "module_stderr") if one.get(key)]
        if said:
            facts["said"] = "; ".join(said)[:SAID]
        diffs = [one.get("diff") for one in [result] + (result.get("results") or []) if isinstance(one, dict)]
        diff = "".join(self._get_diff(one) for one in diffs if one)
        if diff:
            facts["diff"] = diff[:DIFF]
        return facts

    def v2_playbook_on_start(self, playbook):
        self._insist("start", group=os.getpgrp())

    def v2_playbook_on_play_start(self, play):
        self._insist("play", name=play.get_name())

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._insist("task", always=False, name=task.get_name())

    def v2_playbook_on_cleanup_task_start(self, task):
        self._insist("task", always=False, name=task.get_name())

    def v2_playbook_on_handler_task_start(self, task):
        self._insist("task", always=False, name=task.get_name())

    def v2_runner_on_ok(self, result):
        self._result("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result("failed", result, ignore_errors)

    def v2_runner_on_skipped(self, result):
        self._result("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self._result("unreachable", result, result._task_fields.get("ignore_unreachable", False))

    def v2_playbook_on_stats(self, stats):
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        self._insist("end", hosts=hosts, left_out=self._left_out)
        self._ended = True
