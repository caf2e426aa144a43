"""The table, --help, the manual, completion and doc/commands.md agree."""
import re
import shutil
import subprocess

import pytest


@pytest.fixture(scope='module')
def table(binary):
    import json
    return json.loads(subprocess.run([binary, 'help', '--json'], check=True,
                                     capture_output=True).stdout)


def shown(table):
    return [command for command in table['commands'] if not command['hidden']]


@pytest.fixture(scope='module')
def pages(binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp('man')
    subprocess.run([binary, 'help', '--man-all', folder], check=True)
    return folder


def names_of(option):
    return ['--' + option['name']] + (['-' + option['letter']] if 'letter' in option else [])


def described(option):
    """How --help and the manual begin the option's line."""
    parts = (['-' + option['letter']] if 'letter' in option else []) + ['--' + option['name']]
    return ', '.join(parts) + (' ' + option['value'] if 'value' in option else '')


def squeeze(text):
    return re.sub(r'\s+', ' ', text)


def test_there_are_commands(table):
    names = [command['name'] for command in shown(table)]
    for name in ('run check graph runs status tasks logs why retry restart cancel pause resume '
                 'decide rm gc tool doctor').split():
        assert name in names


def test_help_shows_every_option_of_every_command(glovebox, table):
    for command in shown(table):
        text = glovebox(*command['name'].split(), '--help').stdout
        assert text == glovebox('help', *command['name'].split()).stdout
        lines = [line.strip() for line in text.splitlines()]
        for option in command['options'] + table['options']:
            begin = described(option)
            assert any(line == begin or line.startswith(begin + ' ') for line in lines), \
                (command['name'], begin)
            assert squeeze(option['help']) in squeeze(text)
        for argument in command['arguments']:
            assert squeeze(argument['help']) in squeeze(text)


def test_help_shows_nothing_else(glovebox, table):
    for command in shown(table):
        known = {name for option in command['options'] + table['options']
                 for name in names_of(option)}
        for line in glovebox('help', *command['name'].split()).stdout.splitlines():
            match = re.match(r'  (-[^ ,]+(?:, --\S+)?)', line)
            if match:
                assert set(match.group(1).split(', ')) <= known, line


def test_overview_lists_every_command(glovebox, table):
    text = glovebox('help').stdout
    for command in table['commands']:
        listed = re.search(r'^  %s +%s' % (re.escape(command['name']),
                                           re.escape(command['summary'][:30])), text, re.M)
        assert bool(listed) != command['hidden'], command['name']


def test_a_first_word_lists_the_second_ones(glovebox, table):
    text = glovebox('help', 'image').stdout
    assert text == glovebox('image', '--help').stdout
    for command in shown(table):
        listed = re.search(r'^  %s +' % re.escape(command['name']), text, re.M)
        assert bool(listed) == command['name'].startswith('image '), command['name']
    assert 'help image' in glovebox('image', status=2).stderr
    assert 'did you mean "glovebox image list"' in glovebox('image', 'lst', status=2).stderr


def test_every_command_has_a_page(table, pages):
    expected = {'glovebox.1'} | {'glovebox-%s.1' % c['name'].replace(' ', '-') for c in shown(table)}
    assert {path.name for path in pages.iterdir()} == expected


def manual_text(path):
    """The page as it is read, in one line."""
    text = path.read_text()
    text = re.sub(r'\\f[BIPR]', '', text).replace(r'\-', '-').replace(r'\(ti', '~')
    text = text.replace(r'\(ha', '^').replace(r'\&', '').replace(r'\e', '\\')
    return text


def test_the_manual_shows_every_option(table, pages):
    for command in shown(table):
        text = manual_text(pages / ('glovebox-%s.1' % command['name'].replace(' ', '-')))
        for option in command['options'] + table['options']:
            assert '\n.TP\n%s\n' % described(option) in text, (command['name'], option['name'])
            assert squeeze(option['help']) in squeeze(text)
        for argument in command['arguments']:
            assert '\n.TP\n%s\n' % argument['name'] in text


def test_the_manual_shows_nothing_else(table, pages):
    for command in shown(table):
        known = {described(option) for option in command['options'] + table['options']}
        text = manual_text(pages / ('glovebox-%s.1' % command['name'].replace(' ', '-')))
        for line in re.findall(r'^\.TP\n(-.*)$', text, re.M):
            assert line in known


def test_the_manual_is_lint_clean(pages):
    if not shutil.which('mandoc'):
        pytest.skip('mandoc is not installed')
    done = subprocess.run(['mandoc', '-Tlint', *sorted(pages.iterdir())], capture_output=True,
                          text=True)
    assert done.stdout + done.stderr == ''


def complete(glovebox, script, *words):
    """What bash would offer for the last word."""
    quoted = ' '.join("'%s'" % word for word in words)
    program = ('source %s; compopt() { :; }; glovebox() { %s "$@"; }; COMP_WORDS=(glovebox %s); '
               'COMP_CWORD=%d; _glovebox; printf "%%s\\n" "${COMPREPLY[@]}"' %
               (script, glovebox.binary, quoted, len(words)))
    done = subprocess.run(['bash', '-c', program], capture_output=True, text=True, check=True,
                          env=glovebox.environment, cwd=glovebox.folder)
    assert done.stderr == ''
    return set(done.stdout.split())


@pytest.fixture
def script(glovebox):
    path = glovebox.folder / 'completion.bash'
    path.write_text(glovebox('completion', 'bash').stdout)
    return path


def test_completion_offers_every_command(glovebox, script, table):
    names = [c['name'].split() for c in shown(table)]
    assert complete(glovebox, script, '') == {words[0] for words in names}
    for family in {words[0] for words in names if len(words) == 2}:
        assert complete(glovebox, script, family, '') == {words[1] for words in names
                                                          if words[0] == family and len(words) == 2}
    assert complete(glovebox, script, 'image', '--home', '/h', 'sho') == {'show'}
    assert complete(glovebox, script, '--home', '/h', 'sta') == {'status'}


def test_completion_offers_every_option(glovebox, script, table):
    for command in shown(table):
        expected = {name for option in command['options'] + table['options']
                    for name in names_of(option)}
        assert complete(glovebox, script, *command['name'].split(), '-') == expected


def test_completion_offers_values(glovebox, script):
    assert complete(glovebox, script, 'graph', '--format', 'm') == {'mermaid'}
    assert complete(glovebox, script, '--color', 'a') == {'auto', 'always'}
    assert complete(glovebox, script, 'decide', 'last', 'look', 'a') == {'approve'}
    assert complete(glovebox, script, 'help', 'grap') == {'graph'}
    assert complete(glovebox, script, 'status', 'la') == {'last'}
    (glovebox.folder / 'one.yaml').touch()
    assert 'one.yaml' in complete(glovebox, script, 'check', 'o')
    assert 'one.yaml' in complete(glovebox, script, 'run', '-i', 'scans', '=', 'on')
    assert 'dicom-tags' in complete(glovebox, script, 'tool', 'dicom-t')


def test_completion_is_lint_clean(script):
    if not shutil.which('shellcheck'):
        pytest.skip('shellcheck is not installed')
    done = subprocess.run(['shellcheck', '-s', 'bash', script], capture_output=True, text=True)
    assert done.stdout == ''


def test_the_document_is_up_to_date(glovebox, root):
    kept = (root / 'doc' / 'commands.md').read_text()
    assert glovebox('help', '--markdown').stdout == kept, 'script/generate writes it anew'


def test_width(glovebox):
    for width in (60, 80, 200):
        for command in ('run', 'doctor'):
            text = glovebox('help', command, env={'COLUMNS': str(width)}).stdout
            described_part = text.split('\nExamples\n')[0].split('\nOptions')[0]
            assert max(map(len, described_part.splitlines())) <= width
