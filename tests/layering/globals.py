#!/usr/bin/env python3
"""No mutable globals: all state hangs from struct vm, every table is const. Reads the symbols of the
library's objects. Arguments: objdump, libtandem.a."""
import re
import subprocess
import sys

# What belongs to the process and not to a VM, and why.
ALLOWED = {
    ('core_chardev_tty', 'saved'): 'the terminal; found by exit and signal handlers',
}
OBJECT_FILE = re.compile(r'(\S+?)(?:\.c)?\.o:\s+file format')
WRITABLE = re.compile(r' O (?:\.data|\.bss|\.tdata|\.tbss|\*COM\*)(?:\.(?!rel\.ro)\S*)?\s+\S+\s+(?:\.hidden )?(\S+)$')


def main():
    objdump, library = sys.argv[1:]
    text = subprocess.run([objdump, '-t', library], capture_output=True, text=True, check=True).stdout
    bad, n, where = [], 0, ''
    for line in text.splitlines():
        match = OBJECT_FILE.search(line)
        if match:
            where = match.group(1).split('/')[-1]
            n += 1
        match = WRITABLE.search(line)
        if match and (where, re.sub(r'\.\d+$', '', match.group(1))) not in ALLOWED:
            bad.append(f'{where}: {match.group(1)}')
    print('1..2')
    print('ok' if n else 'not ok', f'- {n} objects have symbols to look at')
    print('not ok' if bad else 'ok', '- there are no mutable globals')
    for line in bad:
        print('#', line)
    return bool(bad) or not n


if __name__ == '__main__':
    sys.exit(main())
