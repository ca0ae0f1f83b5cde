#!/usr/bin/env python3
"""Every header compiles alone; a list for macros (no "#pragma once") is none. Arguments: source root, build root, compiler and its flags."""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from includes import sources


def is_header(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        return '#pragma once' in f.read()


def compile_alone(header, root, build, compiler):
    command = compiler + ['-std=gnu17', '-D_GNU_SOURCE', '-fsyntax-only', '-Wall', '-I', root, '-I', build,
                          '-include', header, '-x', 'c', os.devnull]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main():
    root, build, compiler = sys.argv[1], sys.argv[2], sys.argv[3:]
    headers = [s for s in sources(root) if s.endswith('.h') and is_header(root, s)]
    bad = 0
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda h: compile_alone(os.path.join(root, h), root, build, compiler), headers)
        for header, result in zip(headers, done):
            ok = result.returncode == 0 and not result.stderr
            bad += not ok
            print('ok' if ok else 'not ok', '-', header, 'compiles alone')
            for line in result.stderr.splitlines() if not ok else []:
                print('#', line)
    print(f'1..{len(headers)}')
    return bad > 0


if __name__ == '__main__':
    sys.exit(main())
