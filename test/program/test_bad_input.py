"""Every mistake is answered well: a message that says what to do, the right exit status, nothing
lost, no crash.

test/bad-input has a folder for each mistake that files can hold: pipeline.yaml alone is checked;
a file `command` says how glovebox is called instead. expected.txt has what is said on standard
error, after the exit status where there is a command. UPDATE_EXPECTED=1 writes it anew: look at
the difference. What needs setting up stands in the table below.
"""
import os
import pathlib
import shlex
import shutil

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / 'test/bad-input').glob('*/pipeline.yaml'))
CHECKED = [path for path in FOLDERS if not (path / 'command').exists()]
CALLED = [path for path in FOLDERS if (path / 'command').exists()]
CRASH = ('Sanitizer', 'runtime error', 'Segmentation', 'core dumped', 'Assertion')


def name(folder):
    return folder.name


@pytest.mark.parametrize('folder', CHECKED, ids=name)
def test_check(glovebox, folder):
    """The same answers from the program as from the library, which is given tools of its own."""
    done = glovebox('check', 'pipeline.yaml', status=3, cwd=folder)
    assert done.stdout == ''
    for line in (folder / 'expected.txt').read_text().splitlines():
        if 'error:' in line and 'tool' not in line and 'container' not in line:
            assert line in done.stderr


@pytest.mark.parametrize('folder', CALLED, ids=name)
def test_call(glovebox, folder):
    for path in folder.iterdir():
        shutil.copy(path, glovebox.folder)
    done = glovebox(*shlex.split((folder / 'command').read_text()), status=None)
    said = done.stderr.replace(str(glovebox.home), 'HOME').replace(str(glovebox.folder), 'HERE')
    answer = 'exit %d\n%s' % (done.returncode, said)
    if os.environ.get('UPDATE_EXPECTED'):
        (folder / 'expected.txt').write_text(answer)
    assert answer == (folder / 'expected.txt').read_text()
    assert done.returncode in (1, 2, 3) and 'error: ' in answer or 'failed\n' in answer
    assert not any(word in answer for word in CRASH)
    assert 'Smi' not in answer and 'ller' not in answer, 'patient data'


def test_there_are_many():
    assert len(CHECKED) > 60 and len(CALLED) > 45
