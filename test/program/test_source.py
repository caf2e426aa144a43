"""The check of the source finds what it is there to find."""
import shutil
import subprocess
import sys

import pytest


def check(root, folder):
    done = subprocess.run([sys.executable, root / 'script' / 'check-source', folder],
                          capture_output=True, text=True)
    return done.returncode, done.stdout


def test_the_source_keeps_the_rules(root):
    assert check(root, root) == (0, '')


@pytest.fixture
def planted(tmp_path):
    """A small tree that keeps the rules."""
    for room, uses in (('base', None), ('store', 'base'), ('engine', 'store'), ('cli', 'engine')):
        folder = tmp_path / 'src' / room
        folder.mkdir(parents=True)
        (folder / (room + '.h')).write_text('int %s(void);\n' % room)
        (folder / 'private-secret.h').write_text('int secret(void);\n')
        include = '#include "%s/%s.h"\n' % (uses, uses) if uses else ''
        (folder / 'main.c').write_text(
            '/* It. */\n' + include + '#include "private-secret.h"\nint %s(void) {\n    return 0;\n}\n' % room)
        (folder / 'meson.build').write_text("'main.c'")
    return tmp_path


def test_a_good_tree(root, planted):
    assert check(root, planted) == (0, '')


@pytest.mark.parametrize('path, text, message', [
    ('src/store/main.c', '#include "engine/engine.h"\n',
     'store may not use engine: it is not below it'),
    ('src/store/main.c', '#include "store/../engine/engine.h"\n',
     'store may not use engine: it is not below it'),
    ('src/base/base.h', '#include "cli/cli.h"\n', 'base may not use cli: it is not below it'),
    ('src/cli/main.c', '#include "engine/private-secret.h"\n',
     'includes "engine/private-secret.h", a private header of engine'),
    ('test/unit/store/test-x.c', '#include "base/private-secret.h"\n',
     'includes "base/private-secret.h", a private header of base'),
    ('src/attic/main.c', 'int x;\n', 'is on no floor'),
    ('src/base/dead.c', 'int x;\n', 'stands in no meson.build'),
    ('src/base/main.c', 'int x;\n' * 1000, 'has 1000 lines; at most 999'),
    ('src/base/main.c', 'int f(void) {\n' + '    x();\n' * 70 + '}\n',
     'f() has 72 lines; at most 70'),
    ('src/base/main.c', 'static int\nf(int a,\n  int b)\n{\n' + '    x();\n' * 70 + '}\n',
     'f() has'),
    ('src/base/main.c', '#undef strcpy\n', 'weakens the banned calls'),
    ('src/base/main.c', 'int x;\n', 'does not begin with a comment that says what it holds'),
])
def test_a_breach_is_found(root, planted, path, text, message):
    file = planted / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    status, output = check(root, planted)
    assert status == 1 and message in output and path.rsplit('/', 1)[0] in output


def test_what_is_allowed(root, planted):
    (planted / 'test/unit/base').mkdir(parents=True)
    (planted / 'test/unit/base/test-x.c').write_text('#include "base/private-secret.h"\n')
    (planted / 'src/cli/main.c').write_text(
        '/* It. */\n#include "base/base.h"\n#include "engine/engine.h"\n'
        'int f(void) {\n' + '    x();\n' * 68 + '}\n')
    assert check(root, planted) == (0, '')


def test_shell_scripts_are_lint_clean(root):
    if not shutil.which('shellcheck'):
        pytest.skip('shellcheck is not installed')
    scripts = [path for path in (root / 'script').iterdir()
               if path.is_file() and path.read_bytes()[:11] == b'#!/bin/bash']
    done = subprocess.run(['shellcheck', *scripts], capture_output=True, text=True)
    assert done.stdout == ''
