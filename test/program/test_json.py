"""Every key that --json prints stands in doc/json.md, in the section of its command."""
import re

import pytest

from test_run import ASKS, FAILS, FAN, HELLO

FREE = {'outputs', 'parameters', 'inputs'}  # their members are names that a pipeline chose


@pytest.fixture(scope='module')
def sections(root):
    """{heading: the set of words in backquotes below it}; what stands first counts for all."""
    text = (root / 'doc' / 'json.md').read_text()
    parts = re.split(r'^## (.*)$', text, flags=re.M)
    common = set(re.findall(r'`([^`]+)`', parts[0]))
    found = {}
    for heading, body in zip(parts[1::2], parts[2::2]):
        for name in heading.split(', '):
            found[name] = common | set(re.findall(r'`([^`]+)`', body))
    return found


def keys(value):
    if isinstance(value, dict):
        for key, member in value.items():
            yield key
            if key not in FREE:
                yield from keys(member)
    elif isinstance(value, list):
        for member in value:
            yield from keys(member)


def test_every_key_is_documented(glovebox, sections):
    fails, asks = glovebox.pipeline(FAILS, 'fails.yaml'), glovebox.pipeline(ASKS, 'asks.yaml')
    fan = glovebox.pipeline(FAN, 'fan.yaml')
    token = glovebox.folder / 'token'
    token.write_text('x')
    token.chmod(0o600)
    to = ['--medperf', 'http://localhost:9', '--dataset', '1', '--token-file', token]
    bad = glovebox.pipeline('name: x\nsteps:\n  - id: a\n    comand: echo\n', 'bad.yaml')
    glovebox('run', fails, status=1)
    glovebox('run', asks, status=4)
    answers = [
        ('status', glovebox('run', fan, '--json').json),
        ('status', glovebox('status', 'fails-1', '--json').json),
        ('status', glovebox('status', 'asks-2', '--json').json),
        ('status', glovebox('run', glovebox.home / 'runs' / 'fan-3', '--json').json),
        ('report', glovebox('report', 'fan-3', '-n', '--json', *to).json),
        ('status', glovebox('report', 'fan-3', *to, status=1) and
         glovebox('status', 'fan-3', '--json').json),
        ('report', glovebox('report', 'fan-3', '--stop', '--json').json),
        ('tasks', glovebox('tasks', 'fails-1', '--json').json_lines),
        ('runs', glovebox('runs', '--json').json),
        ('why', glovebox('why', 'last', 'join', '--json').json),
        ('logs', glovebox('logs', 'fan-3', 'make', '--json').json),
        ('check', glovebox('check', fan, bad, 'none.yaml', '--json', status=3).json),
        ('run --dry-run', glovebox('run', '-n', glovebox.pipeline(HELLO), '--json').json),
        ('graph', glovebox('graph', fan, '--json').json),
        ('graph', glovebox('graph', '--run', 'last', '--json').json),
        ('decide', glovebox('decide', 'asks-2', 'look', 'approve', '--no-resume', '--json').json),
        ('gc', glovebox('gc', '--dry-run', '--json').json),
        ('rm', glovebox('rm', 'last', '--dry-run', '--json').json),
        ('doctor', glovebox('doctor', '--json', status=None).json),
        ('tool', glovebox('tool', '-q').stdout and glovebox('--json', 'tool').json),
        ('version', glovebox('version', '--json').json),
        ('help', glovebox('help', '--json').json),
    ]
    for section, answer in answers:
        unknown = set(keys(answer)) - sections[section]
        assert not unknown, (section, unknown)
        assert answer


def test_pause_and_cancel(glovebox, sections):
    glovebox('run', glovebox.pipeline(ASKS), status=4)
    for command in ('pause', 'cancel'):
        answer = glovebox(command, 'last', '--json').json
        assert answer == {'run': 'asks-1', 'command': command, 'where': None}
        assert set(answer) <= sections[command]
