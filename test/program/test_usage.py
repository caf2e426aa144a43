"""What is typed wrongly: one line, a hint, status 2; and where output goes."""
import os
import subprocess

import pytest

WRONG = [
    ([], 'no command is given', '"glovebox help" lists the commands'),
    (['stauts'], 'unknown command "stauts"', 'did you mean "glovebox status"?'),
    (['zzz'], 'unknown command "zzz"', '"glovebox help" lists the commands'),
    (['run'], 'run: PIPELINE is missing',
     'PIPELINE is a pipeline file, or the folder of a run or a copy of it (an RO-Crate); try "glovebox help run"'),
    (['run', '--detatch', 'x'], 'unknown option "--detatch"', 'did you mean "--detach"?'),
    (['run', '-Z', 'x'], 'unknown option "-Z"', 'try "glovebox help run"'),
    (['run', 'x', '-o'], 'option "-o" needs a value, DIR', 'try "glovebox help run"'),
    (['run', 'x', '--detach=yes'], 'option "--detach" takes no value', None),
    (['run', 'x', '-i', 'scans'], '--input "scans" is not of the form NAME=PATH', None),
    (['run', 'x', '-p', 'a=1', '-p', 'a=2'], '--param gives "a" twice', None),
    (['run', 'x', '--detach', '--wait'], '--detach and --wait exclude each other', None),
    (['run', 'x', '--from', 'a', '--from', 'b'], 'option "--from" is given twice', None),
    (['status'], 'status: RUN is missing',
     'RUN is the run: a name, a number, or last; try "glovebox help status"'),
    (['status', 'a', 'b'], 'status: "b" is one argument too many', 'try "glovebox help status"'),
    (['graph'], 'graph: give either FILE or --run RUN', 'try "glovebox help graph"'),
    (['graph', 'x', '--format', 'markdown'],
     '--format: "markdown" is not one of: text dot mermaid json', None),
    (['decide', 'r', 's', 'aprove'], 'DECISION: "aprove" is not one of: approve reject',
     'did you mean "approve"?'),
    (['restart', 'r'], 'restart: --from is missing',
     'name the step to begin with: --from STEP or STEP@PARTITION'),
    (['skip', 'r', 's'], 'skip: --reason is missing', 'say why: the record keeps it'),
    (['succeed', 'r', 's', '--reason', ''], 'succeed: --reason is missing',
     'say why: the record keeps it'),
    (['tool', 'dicom-tag'], 'there is no tool "dicom-tag"',
     'did you mean "glovebox tool dicom-tags"?'),
    (['help', 'grpah'], 'unknown command "grpah"', 'did you mean "glovebox help graph"?'),
    (['tasks', 'r', '--state', 'fialed'], None, 'did you mean "failed"?'),
    (['--color', 'sometimes', 'runs'],
     '--color: "sometimes" is not one of: auto always never', None),
    (['check', '\x1b[31m', '--\x1b'], 'unknown option "--\\x1b"', None),
]


@pytest.mark.parametrize('arguments, message, hint', WRONG)
def test_usage_error(glovebox, arguments, message, hint):
    done = glovebox(*arguments, status=2)
    lines = done.stderr.splitlines()
    assert done.stdout == ''
    assert len(lines) <= 2 and lines[0].startswith('glovebox: error: ')
    if message:
        assert lines[0] == 'glovebox: error: ' + message
    if hint:
        assert lines[1] == 'hint: ' + hint


@pytest.mark.parametrize('option, value', [('--maximum', 'x'), ('--maximum', '0')])
def test_bad_number(glovebox, option, value):
    assert '--maximum' in glovebox('runs', option, value, status=2).stderr


def test_bad_duration(glovebox):
    assert '--older-than' in glovebox('gc', '--older-than', '3 moons', status=2).stderr


def test_version(glovebox):
    import re
    assert re.fullmatch(r'glovebox \d+\.\d+\.\d+\n', glovebox('--version').stdout)
    assert glovebox('version').stdout == glovebox('run', '--version').stdout
    assert set(glovebox('version', '--json').json) == {'version', 'released'}


def test_a_full_disk_is_a_failure(glovebox):
    with open('/dev/full', 'w', encoding='ascii') as full:
        done = glovebox('help', stdout=full, status=1)
    assert done.stderr == ('glovebox: error: cannot write to standard output: '
                           'No space left on device\n')


def test_a_reader_that_leaves_is_no_accident(glovebox):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, 'w') as closed:
        done = glovebox('help', stdout=closed, status=1)
    assert done.stderr == ''


def test_closed_standard_descriptors(glovebox):
    done = subprocess.run(['sh', '-c', '"$0" version <&- >&- 2>&-; echo $?', str(glovebox.binary)],
                          capture_output=True, text=True, env=glovebox.environment)
    assert done.stdout == '0\n'


def test_no_home_yet(glovebox):
    done = glovebox('runs')
    assert done.stdout == '' and 'no runs yet' in done.stderr
    assert glovebox('runs', '--json').json == []
    assert glovebox('runs', '--quiet').stderr == ''
    assert not glovebox.home.exists()


def test_only_run_makes_a_home(glovebox):
    """Whoever asks or commands in the wrong folder is told so, and leaves nothing there."""
    for home in (glovebox.folder, glovebox.folder / 'none'):
        for command in (['gc'], ['gc', '--dry-run'], ['status', 'last'], ['cancel', 'last'],
                        ['resume', 'last'], ['rm', 'last'], ['why', 'last', 'x'],
                        ['decide', 'last', 'x', 'approve'], ['skip', 'last', 'x', '-r', 'no']):
            done = glovebox(*command, '--home', home, status=1)
            assert str(home) in done.stderr and 'glovebox run' in done.stderr
        assert list(glovebox.folder.iterdir()) == []


def test_unknown_run(glovebox):
    for command in ('status', 'tasks', 'cancel', 'pause', 'resume', 'retry'):
        done = glovebox(command, 'nosuch-1', status=1)
        assert done.stdout == '' and done.stderr.startswith('glovebox: error: ')


def test_colour(glovebox):
    plain = glovebox('doctor', status=None).stdout
    assert '\x1b[' not in plain
    assert '\x1b[' in glovebox('doctor', '--color', 'always', status=None).stdout
