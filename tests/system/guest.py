"""What the system tests share: guests to watch and talk to, initramfs and programs to run in them, TAP.

    from guest import *                   (with tests/system on sys.path)
    with boot("trixie", script, "-smp", "4") as vm:
        vm.expect("hello", 60)
    check("says hello", vm.ended(30) == 0, vm.tail())
    finish()

Every wait has a limit, and leaving the `with` kills what still runs: a test may fail but never hangs.
"""
import atexit, hashlib, os, pathlib, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time

TOP = pathlib.Path(__file__).resolve().parents[2]
TANDEM = os.path.abspath(sys.argv[1])
DIR = pathlib.Path(tempfile.mkdtemp(prefix="tandem-system.", dir="/var/tmp"))
atexit.register(shutil.rmtree, DIR, ignore_errors=True)
# Limits are for an idle machine with two processors; a slow one asks for more.
ARCH = os.environ.get("GUEST_ARCH", "riscv64")  # of the guests that boot() starts
PATIENCE = float(os.environ.get("PATIENCE", "4"))
failures = 0


def check(name, good, detail=""):
    """A test point; the detail is printed if it failed."""
    global failures
    failures += not good
    print(f"{'ok' if good else 'not ok'} - {name}", flush=True)
    if not good and detail:
        print("# " + str(detail).replace("\n", "\n# "), flush=True)
    return good


def skip(name, why):
    print(f"ok - {name} # SKIP {why}", flush=True)


def finish():
    sys.exit(failures > 0)


class Guest:
    """A running emulator: its output so far, and its input. Of a plain one, terminal sequences (ECMA-48, 5.4: the
    moves of a cursor, colours) and carriage returns are left out, which may stand anywhere in a text."""

    def __init__(self, *args, stdin=True, program=None, plain=False):
        self.command = [program or TANDEM, *map(str, args)]
        self.plain, self.raw = plain, b""
        self.out, self.seen, self.changed = b"", 0, threading.Condition()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            with self.changed:
                if self.plain:
                    self.raw += data
                    self.out = re.sub(rb"\r|\x1b(\[[0-?]*[ -/]*([@-~]|$)|$)", b"", self.raw)
                else:
                    self.out += data
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def expect(self, pattern, seconds):
        """The match of a pattern in what came after the last match; None if it does not come in time."""
        pattern = re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.MULTILINE)
        until = time.monotonic() + seconds * PATIENCE
        with self.changed:
            while True:
                found = pattern.search(self.out, self.seen)
                if found:
                    self.seen = found.end()
                    return found
                left = until - time.monotonic()
                if left <= 0 or not self.reader.is_alive():
                    return None
                self.changed.wait(min(left, 0.5))

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def ended(self, seconds):
        """Exit status; None if it still runs after that time."""
        try:
            status = self.process.wait(seconds * PATIENCE)
            self.reader.join(5)
            return status
        except subprocess.TimeoutExpired:
            return None

    def text(self):
        return self.out.decode(errors="replace").replace("\r", "")

    def value(self, name):
        """What the guest printed behind "NAME: ", or None."""
        found = re.search(rf"^{re.escape(name)}: (.*)$", self.text(), re.MULTILINE)
        return found[1].strip() if found else None

    def tail(self):
        status = self.process.poll()
        return f"exit status {status}; the last lines:\n" + "\n".join(self.text().splitlines()[-25:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.reader.join(5)
        self.process.stdout.close()


def board(*args):
    """The machine for a guest of this architecture with those devices: virtio-mmio on a PC is microvm's."""
    if ARCH == "riscv64":
        return ["-M", "virt"]
    mmio = any(re.match(r"virtio-[a-z]+-device", str(a)) for a in args)
    return ["-M", "microvm" if mmio else "q35", "-cpu", "max"]


def guest_files(suite, kernel_only=True, flavour=None):
    """The folder with a suite's kernel, initramfs and disk (scripts/get-guest)."""
    command = [TOP / "scripts/get-guest", "--arch", ARCH, *(["--kernel-only"] if kernel_only else []),
               *(["--flavour", flavour] if flavour else []), suite]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if made.returncode:
        check(f"Debian {suite}'s guest is there", False)
        finish()
    return pathlib.Path(made.stdout.strip())


def initrd(suite, entries, flavour=None):
    """The suite's initramfs with more files in it: {name: text or path}."""
    files = guest_files(suite, flavour=flavour)
    spec = []
    for i, (name, what) in enumerate(entries.items()):
        if isinstance(what, str):
            path = DIR / f"entry.{time.monotonic_ns()}.{i}"
            path.write_text(what)
            path.chmod(0o755)
            what = path
        spec.append(f"{name}={what}")
    extra = DIR / f"initrd.{time.monotonic_ns()}"
    subprocess.run([TOP / "scripts/make-initramfs", extra, *spec], check=True)
    extra.write_bytes((files / "initrd.img").read_bytes() + extra.read_bytes())
    return extra


def boot(suite, script, *args, files=None, append="console=ttyS0 quiet", memory="512M"):
    """Start a Debian kernel on the board; a shell script is the guest's first process's only task (it is
    read by busybox, with all its commands), then it powers off."""
    image = initrd(suite, {"tandem/test": script, **(files or {})})
    return Guest(*board(*args), "-m", memory, "-kernel", guest_files(suite) / "vmlinux", "-initrd", image,
                 "-append", append, "-nographic", *args)


def compiled(source):
    """A static program for the guest from a C file beside the tests; None without a compiler."""
    out = DIR / pathlib.Path(source).stem
    cc = shutil.which(f"{ARCH}-linux-gnu-gcc")
    if not cc:
        return None
    subprocess.run([cc, "-O2", "-static", "-Wall", "-Wextra", "-o", out, source, "-lpthread"], check=True)
    return out


def sha256_of(path):
    with open(path, "rb") as f:
        digest = hashlib.sha256()
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
