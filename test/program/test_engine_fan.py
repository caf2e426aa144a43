"""Fan-outs: what they list, what each task sees, how results meet again, and hostile names."""
import hashlib
import json
import os
import subprocess

import pytest

from engine_support import lab  # noqa: F401

# Names that a shell, a path, a terminal or a format could trip over.
HOSTILE = [
    'with space', '-leading', '--help', 'Überfall-日本', "quote'single", 'quote"double',
    '$(touch pwned)', '`touch pwned`', 'semi;touch pwned', 'new\nline', '*', '?', '[a]', '~',
    'back\\slash', '${HOME}', '$HOME', '&& touch pwned', 'a|b', '#comment', '%s%n', '...', '{}',
    'tab\there', '"; touch pwned; "', "'; touch pwned; '", '\u202ereversed', 'CON',
]


def each(lab, data, fan, command='cp -r /in/. /out/', more='', **options):
    return lab.run('''
name: fan
inputs: {data: {type: directory}}
steps:
  - id: each
    foreach: %s
    command: %s
%s''' % (fan, json.dumps(command), more), '-i', 'data=%s' % data, **options)


def partitions(lab, step='each'):
    return sorted(task['partition'] for task in lab.tasks().values() if task['step'] == step)


# ----------------------------------------------------------------- directories


def test_directories_at_depth_two(lab):
    data = lab.data({'p1/t1/f': '11', 'p1/t2/f': '12', 'p2/t1/f': '21', 'p2/loose': 'x',
                     'loose': 'y'})
    (data / 'p3').mkdir()
    each(lab, data, '{directories: inputs.data, depth: 2}')
    assert partitions(lab) == ['p1/t1', 'p1/t2', 'p2/t1']
    assert lab.output('each@p1/t2', 'f') == '12'
    assert os.listdir(lab.output_folder('each@p2/t1')) == ['f']


def test_directories_that_match(lab):
    data = lab.data({'sub-1/f': '1', 'sub-2/f': '2', 'derived/f': '3'})
    each(lab, data, '{directories: inputs.data, match: "sub-*"}')
    assert partitions(lab) == ['sub-1', 'sub-2']


def test_an_empty_directory_is_a_partition(lab):
    data = lab.data({'a/f': '1'})
    (data / 'b').mkdir()
    each(lab, data, '{directories: inputs.data}', 'ls /in | wc -l > /out/n')
    assert lab.output('each@a', 'n') == '1\n' and lab.output('each@b', 'n') == '0\n'


# ------------------------------------------------------------------------ glob


def test_glob_with_folders_below(lab):
    data = lab.data({'a.txt': '1', 'x/b.txt': '2', 'x/y/c.txt': '3', 'x/y/d.dat': '4'})
    each(lab, data, '"inputs.data/**/*.txt"', 'cat /in/*.txt > /out/t; ls /in > /out/ls')
    assert partitions(lab) == ['a.txt', 'x/b.txt', 'x/y/c.txt']
    assert lab.output('each@x/y/c.txt', 't') == '3'
    assert lab.output('each@x/y/c.txt', 'ls') == 'c.txt\n', 'it sees its own file only'


def test_glob_of_one_level(lab):
    data = lab.data({'a.txt': '1', 'x/b.txt': '2'})
    each(lab, data, '"inputs.data/*.txt"', 'cp /in/* /out/')
    assert partitions(lab) == ['a.txt']


def test_glob_that_matches_nothing(lab):
    data = lab.data({'a.dat': '1'})
    each(lab, data, '"inputs.data/*.txt"', status=1)
    assert 'nothing' in lab.last.stdout + lab.last.stderr
    assert lab.state() == 'failed'
    each(lab, data, '{glob: "inputs.data/*.txt", allow_empty: true}', more='''
  - {id: after, in: each, command: 'ls /in | wc -l > /out/n'}
''')
    assert lab.states()['after'] in ('succeeded', 'skipped')
    assert lab.state() == 'succeeded'


# ----------------------------------------------------------------------- DICOM


MAKE_DICOM = """
import sys, pathlib, pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
number = 0
for patient, study, series, count in [('P1', '1.2.1', '1.2.1.1', 3), ('P1', '1.2.1', '1.2.1.2', 1),
                                      ('P1', '1.2.2', '1.2.2.1', 2), ('P 2', '1.2.3', '1.2.3.1', 2)]:
    for n in range(count):
        number += 1
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.2'
        meta.MediaStorageSOPInstanceUID = '1.2.9.%d' % number
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        data.is_little_endian, data.is_implicit_VR = True, False
        data.SOPClassUID, data.SOPInstanceUID = meta[0x20002].value, meta[0x20003].value
        data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = patient, study, series
        data.InstanceNumber = n + 1
        folder = pathlib.Path(sys.argv[1], 'disc%d' % (number % 2))
        folder.mkdir(exist_ok=True)
        data.save_as(folder / ('IM%04d' % number), write_like_original=False)
"""


@pytest.fixture
def images(lab):
    """Two patients, three studies, four series, mixed in two folders, and a note; written by
    pydicom, of Debian's own Python."""
    data = lab.data({'notes.txt': 'no image'})
    if subprocess.run(['/usr/bin/python3', '-c', 'import pydicom'], stderr=subprocess.PIPE).returncode:
        pytest.skip('python3-pydicom is not installed')
    subprocess.run(['/usr/bin/python3', '-c', MAKE_DICOM, data], check=True)
    return data


@pytest.mark.parametrize('by, expected', [
    ('patient', {'P1': 6, 'P 2': 2}),
    ('study', {'1.2.1': 4, '1.2.2': 2, '1.2.3': 2}),
    ('series', {'1.2.1.1': 3, '1.2.1.2': 1, '1.2.2.1': 2, '1.2.3.1': 2}),
    ('instance', {'1.2.9.%d' % number: 1 for number in range(1, 9)}),
])
def test_dicom(lab, images, by, expected):
    each(lab, images, '{dicom: inputs.data, by: %s}' % by,
         'find /in -type f -exec md5sum {} + > /out/sums')
    assert partitions(lab) == sorted(expected)
    whole = sorted(hashlib.md5(path.read_bytes()).hexdigest() for path in images.glob('*/*'))
    seen = []
    for key, count in expected.items():
        sums = [line.split()[0] for line in lab.output('each@' + key, 'sums').splitlines()]
        assert len(sums) == count
        seen += sums
    assert sorted(seen) == whole, 'each image is in one group, and the note in none'
    each(lab, images, '{dicom: inputs.data, by: %s}' % by,
         'find /in -type f -exec md5sum {} + > /out/sums')
    assert lab.counts() == {'reused': len(expected)}


def test_dicom_of_a_step(lab, images):
    lab.run("""
name: dicom
inputs: {data: {type: directory}}
steps:
  - {id: copy, in: inputs.data, command: 'cp -r /in/. /out/'}
  - {id: each, foreach: {dicom: copy, by: study}, command: 'find /in -type f | wc -l > /out/n'}
""", '-i', 'data=%s' % images)
    assert {key: lab.output('each@' + key, 'n') for key in partitions(lab)} == {
        '1.2.1': '4\n', '1.2.2': '2\n', '1.2.3': '2\n'}


CHANGE_DICOM = """
import sys, pydicom
path, patient = sys.argv[1:]
data = pydicom.dcmread(path)
data.PatientID = patient
data.save_as(path)
"""


def test_files_without_an_id_are_nobody_s(lab, images):
    """Whatever real patients are called: also like the partition of the files without an id. A
    broken file is not passed over."""
    for number, patient in (1, ''), (3, 'unknown'), (5, 'without-id'), (7, 'without-id_'), (8, 'without-id-2'):
        subprocess.run(['/usr/bin/python3', '-c', CHANGE_DICOM, images / ('disc%d' % (number % 2)) / ('IM%04d' % number),
                        patient], check=True)
    (images / 'broken').write_bytes((images / 'disc0' / 'IM0002').read_bytes()[:300])
    each(lab, images, '{dicom: inputs.data, by: patient}', 'cd /in; find . -type f > /out/list')
    found = {key: sorted(lab.output('each@' + key, 'list').split()) for key in partitions(lab)}
    assert found == {'P1': ['./disc0/IM0002', './disc0/IM0004', './disc0/IM0006'],
                     'unknown': ['./disc1/IM0003'], 'without-id': ['./broken', './disc1/IM0001'],
                     'without-id_': ['./disc1/IM0005'], 'without-id__': ['./disc1/IM0007'],
                     'without-id-2': ['./disc0/IM0008']}


def test_dicom_where_there_is_none(lab):
    data = lab.data({'a.txt': '1', 'b.txt': '2'})
    each(lab, data, '{dicom: inputs.data}', status=1)
    assert '2 files' in lab.last.stdout + lab.last.stderr + json.dumps(
        lab.glovebox('status', 'last', '--json').json)


# ------------------------------------------------------------------------- CSV


def csv(lab, text, key='subject', **options):
    path = lab.folder / 'list.csv'
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return lab.run('''
name: csv
inputs: {list: {type: file}}
steps:
  - id: row
    foreach: {csv: inputs.list, key: %s}
    env: {ITEM: "${$item | tojson}"}
    command: 'printf "%%s" "$ITEM" > /out/item'
''' % key, '-i', 'list=%s' % path, **options)


def rows(lab):
    return {task['partition']: json.loads(lab.output('row@' + task['partition'], 'item'))
            for task in lab.tasks().values()}


def test_csv(lab):
    csv(lab, 'subject,age\ns1,40\ns2,"4""1"\n"s,3","two\nlines"\n')
    assert rows(lab) == {'s1': {'subject': 's1', 'age': '40'},
                         's2': {'subject': 's2', 'age': '4"1'},
                         's,3': {'subject': 's,3', 'age': 'two\nlines'}}


def test_csv_with_semicolons_a_mark_and_windows_lines(lab):
    csv(lab, b'\xef\xbb\xbfname;value\r\na;1,5\r\n\r\nb;"2;0"\r\n', 'name')
    assert rows(lab) == {'a': {'name': 'a', 'value': '1,5'}, 'b': {'name': 'b', 'value': '2;0'}}


def test_csv_with_a_key(lab):
    csv(lab, 'n\tsubject\n1\tx\n2\ty')
    assert partitions(lab, 'row') == ['x', 'y']


@pytest.mark.parametrize('text, says', [
    ('s,n\na,1\na,2\n', 'same key'),
    ('t,n\na,1\n', 'no column "s"'),
    ('s,n\na\n', 'line 2'),
    ('s,n\n"a,1\n', 'quote'),
    ('s,n\n,1\n', 'empty name'),
    ('s,n\n\xff\xfe,1\n'.encode('latin-1'), 'UTF-8'),
    ('s,n\n' + 'x' * 1001 + ',1\n', '1000'),
    ('', 'empty'),
])
def test_csv_mistakes(lab, text, says):
    csv(lab, text, 's', status=1)
    assert lab.state() == 'failed'
    said = lab.last.stdout + lab.last.stderr
    assert says in said and 'row' in said


# ------------------------------------------------------------------------ JSON


def made(lab, result, fan='{json: list/l.json}', command='echo ${$item | tojson} > /out/i',
         more='', **options):
    (lab.folder / 'made.json').write_text(result)
    return lab.run('''
name: json
inputs: {made: {type: file}}
steps:
  - id: list
    in: {made: inputs.made}
    command: 'cp /in/made/made.json /out/l.json'
  - id: each
    foreach: %s
    command: %s
%s''' % (fan, json.dumps(command), more), '-i', 'made=%s' % (lab.folder / 'made.json'), **options)


def test_json_items(lab):
    made(lab, '{"lesions": [{"id": "b", "v": 1}, {"id": "a", "v": [2]}]}',
         '{json: list/l.json, items: ".lesions[]", key: .id}')
    assert partitions(lab) == ['a', 'b']
    assert json.loads(lab.output('each@a', 'i')) == {'id': 'a', 'v': [2]}


@pytest.mark.parametrize('result, expected', [
    ('[1, 2.5, true]', ['1', '2.5', 'true']),
    ('{"a": "x", "b": "y"}', ['x', 'y']),
    ('[{"a": 1}, {"a": 2}]', ['1', '2']),
])
def test_json_keys_without_a_name(lab, result, expected):
    made(lab, result)
    assert partitions(lab) == expected


def test_json_of_a_result(lab):
    lab.run('''
name: result
steps:
  - {id: list, command: 'echo "{\\"n\\": [3, 4]}" > /out/result.json'}
  - {id: each, foreach: {json: list, items: ".n[]"}, command: 'echo ${item} > /out/i'}
''')
    assert partitions(lab) == ['3', '4']


def test_json_of_many(lab):
    made(lab, json.dumps(list(range(60))), more='''
  - {id: sum, in: each, command: 'cat /in/*/i | sort -n > /out/all'}
''')
    assert lab.counts() == {'succeeded': 62}
    assert lab.output('sum', 'all') == ''.join('%d\n' % n for n in range(60))


def test_json_of_none(lab):
    made(lab, '[]', status=1)
    assert 'nothing' in lab.last.stdout + lab.last.stderr
    made(lab, '[]', '{json: list/l.json, allow_empty: true}', more='''
  - {id: after, needs: each, command: 'echo x > /out/x'}
''')
    assert lab.states() == {'list': 'reused', 'after': 'succeeded'}


@pytest.mark.parametrize('result, fan', [
    ('not json', '{json: list/l.json}'),
    ('[1, 1]', '{json: list/l.json}'),
    ('[""]', '{json: list/l.json}'),
    ('[1]', '{json: list/none.json}'),
    ('5', '{json: list/l.json}'),
    ('[{"id": 1}]', '{json: list/l.json, key: ".id | error"}'),
    ('["a/../b", "a\\u0000b"]', '{json: list/l.json}'),
])
def test_json_mistakes(lab, result, fan):
    made(lab, result, fan, status=1)
    assert lab.state() == 'failed'
    assert 'each' in lab.last.stdout + lab.last.stderr, 'it says which step'
    problems = lab.glovebox('status', 'last', '--json').json['problems']
    assert problems and problems[0]['step'] == 'each'


# ------------------------------------------------------------- levels and joins


def test_nested_fans_and_joins_per_group_and_over_all(lab):
    data = lab.data({'p1/in': '', 'p2/in': ''})
    lab.run('''
name: nested
inputs: {data: {type: directory}}
steps:
  - id: split
    foreach: {directories: inputs.data}
    command: 'for i in 1 2 3; do echo "${partition}-$i" > /out/part$i.txt; done'
  - id: work
    foreach: split/*.txt
    command: 'tr a-z A-Z < /in/$(ls /in) > /out/up'
  - id: chain
    foreach: work
    in: {up: work, other: split}
    command: 'cat /in/up/up > /out/c; ls /in/other | wc -l >> /out/c'
  - id: group
    foreach: split
    in: chain
    command: 'cat $(find /in -name c | sort) > /out/group'
  - id: all
    in: chain
    command: 'find /in -name c | sort > /out/names; cat $(find /in -name c | sort) > /out/all'
  - id: groups
    in: group
    command: 'cat /in/*/group > /out/groups'
outputs: {parts: work/up, every: all/all}
''', '-i', 'data=%s' % data)
    assert partitions(lab, 'work') == ['p%d/part%d.txt' % (p, i) for p in (1, 2)
                                      for i in (1, 2, 3)]
    assert lab.output('group@p2', 'group') == 'P2-1\n3\nP2-2\n3\nP2-3\n3\n'
    whole = ''.join('P%d-%d\n3\n' % (p, i) for p in (1, 2) for i in (1, 2, 3))
    assert lab.output('all', 'all') == lab.output('groups', 'groups') == whole
    assert lab.output('all', 'names').splitlines()[0] == '/in/p1/part1.txt/c'
    outputs = lab.home / 'runs' / 'nested-1' / 'outputs'
    assert (outputs / 'every').read_text() == whole
    assert sorted(str(path.relative_to(outputs)) for path in outputs.rglob('up')) == [
        'parts/p%d/part%d.txt/up' % (p, i) for p in (1, 2) for i in (1, 2, 3)]


def test_a_group_does_not_wait_for_another(lab):
    data = lab.data({'a/f': '', 'b/f': ''})
    run = lab.run('''
name: groups
inputs: {data: {type: directory}}
steps:
  - {id: one, foreach: {directories: inputs.data}, command: 'echo x > /out/1.t; echo y > /out/2.t'}
  - {id: gate, type: manual_approval, foreach: one}
  - {id: two, foreach: one/*.t, needs: gate, command: 'cp /in/*.t /out/'}
  - {id: three, foreach: one, in: two, command: 'find /in -type f | wc -l > /out/n'}
''', '-i', 'data=%s' % data, status=4)
    lab.glovebox('decide', run, 'gate@a', 'approve', '--no-resume')
    lab.glovebox('resume', run, status=4)
    states = lab.states()
    assert states['three@a'] == 'succeeded' and states['three@b'] == 'waiting'
    lab.glovebox('decide', run, 'gate@b', 'approve', '--no-resume')
    lab.glovebox('resume', run)
    assert lab.output('three@a', 'n') == lab.output('three@b', 'n') == '2\n'


def test_three_levels(lab):
    data = lab.data({'x/f': ''})
    lab.run('''
name: three
inputs: {data: {type: directory}}
steps:
  - {id: a, foreach: {directories: inputs.data}, command: 'echo "[1,2]" > /out/l'}
  - {id: b, foreach: {json: a/l}, command: 'echo "[\\"u\\",\\"v\\"]" > /out/l'}
  - {id: c, foreach: {json: b/l}, command: 'echo "${partition} ${item}" > /out/c'}
  - {id: d, in: c, command: 'cat $(find /in -name c | sort) > /out/d'}
''', '-i', 'data=%s' % data)
    assert lab.output('d', 'd') == 'x/1/u u\nx/1/v v\nx/2/u u\nx/2/v v\n'


def test_a_failed_group_is_left_out_and_the_others_go_on(lab):
    data = lab.data({'a/f': '1', 'b/f': 'bad', 'c/f': '3'})
    text = '''
name: skip
inputs: {data: {type: directory}}
steps:
  - id: one
    foreach: {directories: inputs.data}
    on_failure: skip_partition
    command: 'grep -v bad /in/f > /out/f.t'
  - {id: two, foreach: one/*.t, command: 'cp /in/* /out/'}
  - {id: three, in: two, command: 'cat $(find /in -type f | sort) > /out/all'}
'''
    lab.run(text, '-i', 'data=%s' % data)
    assert lab.states() == {'one@a': 'succeeded', 'one@b': 'failed', 'one@c': 'succeeded',
                            'two@a/f.t': 'succeeded', 'two@c/f.t': 'succeeded',
                            'three': 'succeeded'}
    assert lab.output('three', 'all') == '1\n3\n'


def test_the_order_of_partitions_is_that_of_names(lab):
    data = lab.data({'%s/f' % name: '' for name in ('b', 'a', 'B', '10', '9', 'a b')})
    each(lab, data, '{directories: inputs.data}')
    assert [task['partition'] for task in lab.tasks().values()] == sorted(
        ['b', 'a', 'B', '10', '9', 'a b'])


# --------------------------------------------------------------- hostile names


def check_hostile(lab, names):
    for name in names:
        assert lab.output('each@' + name, 'seen') == name + '\n', name
        assert lab.output('each@' + name, 'variable') == name + '\n', name
        assert lab.log('each@' + name) == 'of ' + name + '\n'
    found = [path.name for folder in (lab.folder, lab.home) for path in folder.rglob('*')]
    assert not [name for name in found if name == 'pwned']


COMMAND = ('printf "%s\\n" "${partition}" > /out/seen; '
           'printf "%s\\n" "$GLOVEBOX_PARTITION" > /out/variable; '
           'echo "of ${partition}"; find /in -type f -exec cat {} + > /out/text')


def test_hostile_names_of_folders(lab):
    data = lab.data({'%s/f' % name: name for name in HOSTILE})
    each(lab, data, '{directories: inputs.data}', COMMAND, '''
  - {id: all, in: each, command: 'find /in -name seen -exec cat {} + | LC_ALL=C sort > /out/all; find /in -name seen -printf . | wc -c > /out/n'}
outputs: {texts: each/text}
''')
    check_hostile(lab, HOSTILE)
    assert lab.output('all', 'n') == '%d\n' % len(HOSTILE)
    assert lab.output('all', 'all') == ''.join(
        line + '\n' for line in sorted('\n'.join(HOSTILE).split('\n')))
    assert lab.counts() == {'succeeded': len(HOSTILE) + 1}
    each(lab, data, '{directories: inputs.data}', COMMAND, '''
  - {id: all, in: each, command: 'find /in -name seen -exec cat {} + | LC_ALL=C sort > /out/all; find /in -name seen -printf . | wc -c > /out/n'}
outputs: {texts: each/text}
''')
    assert lab.counts() == {'reused': len(HOSTILE) + 1}


def test_hostile_names_of_files(lab):
    names = ['%s.txt' % name for name in HOSTILE]
    data = lab.data({name: name for name in names})
    each(lab, data, '"inputs.data/*.txt"', COMMAND)
    check_hostile(lab, names)
    for name in names:
        assert lab.output('each@' + name, 'text') == name


def test_hostile_names_in_commands_that_are_lists(lab):
    data = lab.data({'%s/f' % name: name for name in HOSTILE})
    lab.run('''
name: list
inputs: {data: {type: directory}}
steps:
  - id: each
    foreach: {directories: inputs.data}
    command: ['/usr/bin/printf', '[%s]', "${partition}"]
''', '-i', 'data=%s' % data)
    for name in HOSTILE:
        assert lab.log('each@' + name) == '[%s]' % name


def test_names_of_items_that_are_paths(lab):
    """Keys of a JSON list are text: they may look like paths, and never become them."""
    names = ['../../../../tmp/pwned', '/etc/passwd', 'a/b', '..', '.', 'a/../../b', '-rf /']
    made(lab, json.dumps(names), command='echo "${item}" > /out/i', more='''
  - {id: all, in: each, command: 'find /in -name i | wc -l > /out/n; find /in -name i -exec cat {} + | LC_ALL=C sort > /out/all'}
outputs: {items: each/i}
''')
    assert partitions(lab) == sorted(names)
    assert lab.output('all', 'n') == '%d\n' % len(names)
    assert lab.output('all', 'all').splitlines() == sorted(names)
    outputs = lab.home / 'runs' / 'json-1' / 'outputs'
    assert len([path for path in outputs.rglob('i') if path.is_file()]) == len(names)
    assert not os.path.exists('/tmp/pwned')


def test_a_name_that_is_not_utf8(lab):
    data = lab.data({'good/f': '1'})
    os.mkdir(bytes(data) + b'/bad\xff\xfe')
    each(lab, data, '{directories: inputs.data}', status=1)
    assert 'UTF-8' in lab.last.stdout + lab.last.stderr


def test_names_that_differ_little_have_logs_of_their_own(lab):
    names = ['a b', 'a_b', 'a/b', 'a%20b', 'A B', 'a  b', 'é', 'e\u0301']
    made(lab, json.dumps(names), command='echo "${item}"')
    for name in names:
        assert lab.log('each@' + name) == name + '\n'


def test_links_in_the_input(lab):
    data = lab.data({'a/f': 'one', 'b/f': 'two'})
    (data / 'a' / 'out').symlink_to('/etc/passwd')
    (data / 'c').symlink_to('a')
    each(lab, data, '{directories: inputs.data}', 'ls -l /in > /out/ls; cat /in/f > /out/f')
    assert partitions(lab) in (['a', 'b'], ['a', 'b', 'c'])
    assert lab.output('each@b', 'f') == 'two'


def test_the_input_is_a_link(lab):
    data = lab.data({'a/f': 'one'})
    (lab.folder / 'link').symlink_to(data)
    each(lab, lab.folder / 'link', '{directories: inputs.data}')
    assert lab.output('each@a', 'f') == 'one'


def test_a_fan_of_a_thousand(lab):
    made(lab, json.dumps(['n%d' % n for n in range(1000)]), command='true',
         more="  - {id: none, type: dummy, needs: each}\n")
    assert lab.counts() == {'succeeded': 1002}


def test_a_mount_of_an_item_and_of_a_join(lab):
    """Explicit mounts see what `in` would: an item, a group of files, all tasks of a fan."""
    data = lab.data({'p1/x': 'one', 'p2/x': 'two'})
    lab.run('''
name: mounts
inputs: {data: {}}
steps:
  - id: each
    foreach: {directories: inputs.data}
    mounts: [{path: /item, from: item}, {path: /item-file, from: item/x, type: file}]
    command: cat /item/x /item-file > /out/both
  - id: all
    mounts: [{path: /all, from: each}]
    command: cat /all/p1/both /all/p2/both > /out/all
''', '-i', 'data=%s' % data)
    assert lab.output('each@p1', 'both') == 'oneone'
    assert lab.output('all', 'all') == 'oneonetwotwo'
