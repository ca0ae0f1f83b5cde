"""A QMP client and a machine to talk to, for tests."""
import array
import json
import os
import signal
import socket
import subprocess
import tempfile
import time


class Error(Exception):
    def __init__(self, error):
        super().__init__(f"{error['class']}: {error['desc']}")
        self.error_class, self.desc = error["class"], error["desc"]


class Client:
    """One connection. Events that come in between are kept in .events."""

    def __init__(self, path, negotiate=True, oob=False):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        for _ in range(200):  # the file is there a moment before somebody listens
            try:
                self.socket.connect(path)
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        self.rest, self.events, self.n = b"", [], 0
        self.greeting = self.receive()["QMP"]
        if negotiate:
            self("qmp_capabilities", **({"enable": ["oob"]} if oob else {}))

    def receive(self):
        while b"\n" not in self.rest:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the monitor hung up")
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def send(self, message, fds=()):
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([data], control)

    def reply(self):
        while True:
            message = self.receive()
            if "event" not in message:
                return message
            self.events.append(message)

    def __call__(self, command, fds=(), **arguments):
        return self.run(command, {k.replace("_", "-"): v for k, v in arguments.items()}, fds)

    def run(self, command, arguments=None, fds=()):
        """Arguments as they are, for names with underscores."""
        self.n += 1
        message = {"execute": command, "id": self.n}
        if arguments:
            message["arguments"] = arguments
        self.send(message, fds)
        reply = self.reply()
        assert reply.get("id") == self.n, reply
        if "error" in reply:
            raise Error(reply["error"])
        return reply["return"]

    def human(self, line):
        return self.run("human-monitor-command", {"command-line": line})

    def wait(self, name, timeout=60):
        """The data of the next event of this name; those before it are dropped."""
        end = time.monotonic() + timeout
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name:
                    return event.get("data")
            self.socket.settimeout(max(end - time.monotonic(), 0.01))
            try:
                message = self.receive()
            finally:
                self.socket.settimeout(60)
            if "event" in message:
                self.events.append(message)

    def close(self):
        self.socket.close()


class Machine:
    """A process with a QMP socket."""

    def __init__(self, tandem, *arguments, name="tandem"):
        self.dir = tempfile.TemporaryDirectory(prefix="tandem-qmp.")
        self.path = os.path.join(self.dir.name, "qmp")
        self.log = open(os.path.join(self.dir.name, "log"), "w+b")
        self.process = subprocess.Popen([tandem, *arguments, "-qmp", f"unix:{self.path},server=on,wait=off"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 60
        while not os.path.exists(self.path):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self.output() or "no socket appeared")
            time.sleep(0.02)

    def connect(self, **how):
        return Client(self.path, **how)

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()
        self.dir.cleanup()
