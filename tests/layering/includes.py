#!/usr/bin/env python3
"""Which room may include headers of which: DESIGN's table, checked on every #include "..." line.

Prints TAP, one result a room. A room that is not in the table fails: give it a line.
"""
import os
import re
import sys

EVERYTHING = None

# A folder's rules hold for what is below it unless that has a line of its own; its own headers are
# always allowed. What stands here is what the room's README says it may know.
MAY_USE = {
    'core': [],
    'tcg': ['core'],
    'kvm': ['core', 'target'],  # target: the state structs
    'lockstep': ['core'],
    'target': ['core', 'tcg'],  # tcg: the IR builder and tcg/target.h
    'hw': ['core', 'block', 'net', 'ui'],  # ui: the surface API
    'hw/machine': ['core', 'block', 'net', 'ui', 'hw', 'target'],
    'block': ['core'],
    'net': ['core'],
    'ui': ['core', 'block', 'net', 'hw', 'migrate'],  # public queries
    'migrate': ['core'],
    'cli': EVERYTHING,
    'main.c': ['cli', 'core'],
    'tests': EVERYTHING,
}
# Narrower than a whole room: these headers are inside a room that others may use.
PRIVATE = {
    'tcg/host': ['tcg', 'tests'],
    'tcg/interp': ['tcg', 'tests'],
    'cli': ['main.c', 'tests'],
    'tests': [],
}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def below(path, folder):
    return path == folder or path.startswith(folder + '/')


def rule_of(path, table):
    """The longest entry of the table that path lies in, or None."""
    return max((f for f in table if below(path, f)), key=len, default=None)


def is_allowed(source, header):
    room = rule_of(source, MAY_USE)
    private = rule_of(header, PRIVATE)
    if private and not below(source, private) and \
            not any(below(source, user) for user in PRIVATE[private]):
        return False
    # One guest CPU, and one host, does not know another.
    for many in ('target', 'tcg/host'):
        if below(source, many) and below(header, many):
            of = [p[len(many) + 1:].split('/') for p in (source, header)]
            if len(of[0]) > 1 and len(of[1]) > 1 and of[0][0] != of[1][0]:
                return False
    if MAY_USE[room] is EVERYTHING:
        return True
    return any(below(header, r) for r in [room] + MAY_USE[room])


def sources(root):
    for folder, folders, files in os.walk(root):
        inner = os.path.relpath(folder, root)
        if inner == '.':
            folders[:] = [f for f in folders if not f.startswith(('.', 'build', 'subprojects'))]
        folders.sort()
        for name in sorted(files):
            if name.endswith(('.c', '.h')):
                yield os.path.normpath(os.path.join(inner, name))


def resolve(root, source, included):
    """The included file as a path from the root; None if it is generated or a library's."""
    for base in (os.path.dirname(source), ''):
        path = os.path.normpath(os.path.join(base, included))
        if os.path.exists(os.path.join(root, path)):
            return path
    return None


def faults_of(root, source):
    with open(os.path.join(root, source), encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            where = f'{source}:{number}: '
            if match.group(1).endswith('.c'):
                yield where + f'includes a source, "{match.group(1)}"'
            if match.group(1).startswith('..') and not source.startswith('tests/'):
                yield where + f'write "{match.group(1)}" from the root'
            header = resolve(root, source, match.group(1))
            if header and not is_allowed(source, header):
                yield where + f'may not know {header}'


def main():
    root = sys.argv[1]
    faults = {room: [] for room in MAY_USE}
    for source in sources(root):
        room = rule_of(source, MAY_USE)
        if room is None:
            room = source.split('/')[0]
            faults.setdefault(room, []).append(f'{source}: its room is not in the table')
            continue
        faults[room] += faults_of(root, source)
    for room, lines in faults.items():
        print('not ok' if lines else 'ok', '-', room, 'keeps to what it may know')
        for line in lines:
            print('#', line)
    print(f'1..{len(faults)}')
    return any(faults.values())


if __name__ == '__main__':
    sys.exit(main())
