"""glovebox image: what comes in, what is kept, what is refused."""
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import sqlite3
import stat
import subprocess
import time

import pytest
from image_support import IMAGES, build_archive, image_builder, root_of, store, tree

import bad_images


def small(path, name='example/small:1', content='hello', **more):
    return build_archive(path, name, {'etc/word': content}, busybox=False, **more)


@pytest.mark.parametrize('form', image_builder.FORMATS)
@pytest.mark.parametrize('compress', [False, True])
def test_load(glovebox, form, compress):
    path = glovebox.folder / 'image'
    build_archive(path, 'example/hello:1', {'bin/hello': '#!/bin/sh\necho hello\n'},
                  {'Entrypoint': ['/bin/hello'], 'Cmd': ['a', 'b c'], 'User': '1000:1000', 'WorkingDir': '/tmp',
                   'Env': ['PATH=/bin', 'TOKEN=abc']}, form=form, compress=compress)
    loaded = glovebox('image', 'load', '--json', path).json
    assert [(one['reference'], one['new']) for one in loaded] == [('docker.io/example/hello:1', True)]
    root = root_of(glovebox, 'example/hello:1')
    assert (root / 'bin/hello').read_text() == '#!/bin/sh\necho hello\n'
    assert os.access(root / 'bin/hello', os.X_OK)
    assert os.readlink(root / 'bin/sh') == 'busybox'
    assert stat.S_IMODE((root / 'tmp').stat().st_mode) == 0o1777
    shown = glovebox('image', 'show', 'example/hello:1').stdout
    assert 'entrypoint   /bin/hello\n' in shown and "command      a 'b c'\n" in shown
    assert 'user         1000:1000\n' in shown and 'folder       /tmp\n' in shown
    assert 'environment  PATH TOKEN\n' in shown and 'abc' not in shown
    assert loaded[0]['digest'] in shown
    assert os.listdir(store(glovebox) / 'tmp') == []
    assert stat.S_IMODE(store(glovebox).stat().st_mode) == 0o700


@pytest.mark.parametrize('program', ['gzip', 'xz', 'zstd', 'bzip2'])
def test_load_compressed(glovebox, program):
    path = small(glovebox.folder / 'image.tar')
    with open(path + '.packed', 'wb') as packed:
        subprocess.run([program, '-c', path], stdout=packed, check=True)
    plain = glovebox('image', 'load', '--json', path).json
    assert glovebox('image', 'load', '--json', path + '.packed').json == [dict(plain[0], new=False)]


def test_a_missing_program_is_named(glovebox):
    path = small(glovebox.folder / 'image.tar')
    done = glovebox('image', 'load', path, status=1, env={'PATH': '/nonexistent'})
    assert 'the program umoci is not installed' in done.stderr and 'apt-get install umoci' in done.stderr
    assert glovebox('image', 'list', '--json').json == []


def test_names(glovebox):
    path = small(glovebox.folder / 'image.tar', 'registry.example.org:5000/Team'.lower() + '/tool:v1')
    digest = glovebox('image', 'load', '--json', path).json[0]['digest']
    glovebox('image', 'load', '--name', 'other', path)
    names = [one['reference'] for one in glovebox('image', 'list', '--json').json]
    assert names == ['docker.io/library/other:latest', 'registry.example.org:5000/team/tool:v1']
    for name in ('other', 'docker.io/library/other', 'other:latest', 'other@' + digest, digest, digest[:19],
                 'registry.example.org:5000/team/tool:v1', 'registry.example.org:5000/team/tool@' + digest):
        assert glovebox('image', 'show', '--json', name).json['digest'] == digest
    for name in ('other:1', 'tool', 'registry.example.org:5000/team/tool', 'elsewhere/tool@' + digest,
                 'other@sha256:' + '0' * 64, 'sha256:' + '0' * 64):
        assert 'there is no image' in glovebox('image', 'show', name, status=1).stderr
    for name in ('UPPER', 'a//b', 'a:b:c', 'a@md5:1', '', '-', 'a/../b', 'a' * 600, 'a:' + 't' * 129, 'a b', '.a'):
        assert 'is no name of an image' in glovebox('image', 'show', '--', name, status=1).stderr


def test_an_image_without_a_name_is_called_by_its_file(glovebox):
    for file, name in (('My  Tool.v1.tar', 'localhost/my-tool:latest'), ('--', 'localhost/image:latest')):
        path = glovebox.folder / file
        build_archive(path, None, {'a': file}, busybox=False)
        assert glovebox('image', 'load', '--json', './' + file).json[0]['reference'] == name
        assert (root_of(glovebox, name) / 'a').read_text() == file


def test_several_images_in_one_archive(glovebox):
    layouts = []
    for number in (1, 2):
        path = small(glovebox.folder / ('part-%d' % number), 'example/part:%d' % number, str(number), form='oci-dir')
        layouts.append(pathlib.Path(path))
    first, second = layouts
    index = json.loads((first / 'index.json').read_text())
    index['manifests'] += json.loads((second / 'index.json').read_text())['manifests']
    (first / 'index.json').write_text(json.dumps(index))
    for blob in (second / 'blobs/sha256').iterdir():
        shutil.copy(blob, first / 'blobs/sha256')
    assert len(glovebox('image', 'load', '--json', first).json) == 2
    for number in ('1', '2'):
        assert (root_of(glovebox, 'example/part:' + number) / 'etc/word').read_text() == number
    assert '2 images' in glovebox('image', 'load', '--name', 'x', first, status=2).stderr


def test_a_name_moves_to_a_newer_image(glovebox):
    for content in ('old', 'new'):
        glovebox('image', 'load', small(glovebox.folder / content, content=content))
    day = glovebox('image', 'list', '--json').json[0]['made'][:10]
    assert day > '2026' and day in glovebox('image', 'list').stdout.splitlines()[0]
    assert day in glovebox('image', 'show', 'example/small:1').stdout
    images = glovebox('image', 'list', '--json').json
    assert [one['reference'] for one in images] == ['docker.io/example/small:1', None]
    assert (root_of(glovebox, 'example/small:1') / 'etc/word').read_text() == 'new'
    assert glovebox('image', 'gc', '--dry-run', '--json').json['images'] == 1
    assert len(glovebox('image', 'list', '--json').json) == 2
    dropped = glovebox('image', 'gc', '--json').json
    assert dropped['images'] == 1 and dropped['bytes'] > 0
    assert len(glovebox('image', 'list', '--json').json) == 1
    assert len(os.listdir(store(glovebox) / 'roots')) == 1
    assert 'good' in glovebox('image', 'verify').stdout


def test_an_index_of_several_machines(glovebox):
    """This machine's is chosen, and known by the digest of the index as well."""
    path = pathlib.Path(small(glovebox.folder / 'layout', form='oci-dir'))
    blobs = path / 'blobs/sha256'
    ours = json.loads((path / 'index.json').read_text())['manifests'][0]
    machine = {'x86_64': 'amd64', 'aarch64': 'arm64'}[os.uname().machine]
    ours = {'mediaType': ours['mediaType'], 'digest': ours['digest'], 'size': ours['size'],
            'platform': {'os': 'linux', 'architecture': machine}}
    other = dict(ours, digest='sha256:' + '5' * 64, platform={'os': 'linux', 'architecture': 'pdp11'})
    index = json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.index.v1+json',
                        'manifests': [other, ours]}).encode()
    digest = 'sha256:' + hashlib.sha256(index).hexdigest()
    (blobs / digest[7:]).write_bytes(index)
    (path / 'index.json').write_text(json.dumps({'schemaVersion': 2, 'manifests': [
        {'mediaType': 'application/vnd.oci.image.index.v1+json', 'digest': digest, 'size': len(index),
         'annotations': {'io.containerd.image.name': 'docker.io/example/many:1'}}]}))
    glovebox('image', 'load', path)
    shown = glovebox('image', 'show', '--json', 'example/many@' + digest).json
    assert shown['digest'] == ours['digest'] and shown['indexes'] == [digest]


def test_verify(glovebox):
    glovebox('image', 'load', small(glovebox.folder / 'image.tar'))
    root = root_of(glovebox, 'example/small:1')
    assert glovebox('image', 'verify', 'example/small:1').stdout.endswith(' good\n')
    (root / 'etc/word').write_text('jello')
    (root / 'new').touch()
    (root / 'etc').chmod(0o700)
    told = glovebox('image', 'verify', status=1).stdout
    assert told.splitlines()[1:] == ['  etc has another mode', '  etc/word has another content',
                                     '  new was not in the image']
    assert 'unpacked anew' in glovebox('image', 'verify', '--repair').stdout
    assert glovebox('image', 'verify', '--json').json[0]['good'] is True
    assert (root / 'etc/word').read_text() == 'hello'
    shutil.rmtree(root)
    assert 'gone' in glovebox('image', 'show', 'example/small:1', status=1).stderr
    glovebox('image', 'verify', '--repair')
    assert (root / 'etc/word').read_text() == 'hello'
    largest = max((store(glovebox) / 'blobs/sha256').iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[600] ^= 1
    largest.write_bytes(content)
    assert 'the blob sha256:%s is damaged' % largest.name in glovebox('image', 'verify', status=1).stdout
    largest.unlink()
    assert 'is missing' in glovebox('image', 'verify', status=1).stdout
    glovebox('image', 'load', glovebox.folder / 'image.tar')
    assert glovebox('image', 'verify').stdout.endswith(' good\n')


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give files away')
def test_files_of_another_owner_are_noticed(glovebox):
    """As versions of long ago unpacked images: with the owners that the archive names."""
    glovebox('image', 'load', small(glovebox.folder / 'image.tar'))
    word = root_of(glovebox, 'example/small:1') / 'etc/word'
    listed = next(store(glovebox).glob('roots/*/list'))
    os.chown(word, 1000, 0)
    lines = listed.read_text().splitlines()
    [number] = [i for i, line in enumerate(lines) if line.endswith('/word')]
    words = lines[number].split(' ')
    words[2] = '1000'
    lines[number] = ' '.join(words)
    listed.write_text('\n'.join(lines) + '\n')
    [one] = glovebox('image', 'verify', '--json', status=1).json
    assert one['problems'] == ['1 of its files is not of the owner of this home, as an older version unpacked it: '
                               '`glovebox image verify --repair`, or remove and load it anew']
    glovebox('image', 'verify', '--repair')
    assert word.stat().st_uid == 0
    glovebox('image', 'verify')


def test_remove(glovebox):
    path = small(glovebox.folder / 'image.tar')
    digest = glovebox('image', 'load', '--json', path).json[0]['digest']
    glovebox('image', 'load', '--name', 'second', path)
    assert glovebox('image', 'remove', '-n', '--json', 'second').json['images'] == 0
    assert glovebox('image', 'remove', '--json', 'second').json == {
        'dry_run': False, 'names': 1, 'images': 0, 'bytes': 0}
    assert 'there is no image' in glovebox('image', 'remove', 'second', status=1).stderr
    dropped = glovebox('image', 'remove', '--json', digest).json
    assert dropped['images'] == 1 and dropped['names'] == 1 and dropped['bytes'] > 0
    assert os.listdir(store(glovebox) / 'roots') == os.listdir(store(glovebox) / 'blobs/sha256') == []


def test_a_home_without_images(glovebox):
    assert 'no images' in glovebox('image', 'list').stderr
    assert glovebox('image', 'verify').stdout == ''
    glovebox('image', 'gc')
    glovebox('image', 'remove', 'x', status=1)
    assert not store(glovebox).exists()


def test_a_singularity_file(glovebox):
    path = image_builder.build_sif(glovebox.folder / 'Segment-v2.sif', {
        '.singularity.d/runscript': '#!/bin/sh\necho run "$@"\n',
        '.singularity.d/env/10-docker2singularity.sh':
            '#!/bin/sh\nexport PATH="/usr/bin:/bin"\nexport MODEL="${MODEL:-"large one"}"\nexport BAD="$(id)"\n',
        'set-uid': {'content': b'#!/bin/sh\n', 'mode': 0o4755}})
    loaded = glovebox('image', 'load', '--json', path).json
    assert loaded[0]['reference'] == 'localhost/segment-v2:latest'
    shown = glovebox('image', 'show', '--json', 'localhost/segment-v2').json
    assert shown['config']['config'] == {'Entrypoint': ['/.singularity.d/runscript'],
                                         'Env': ['PATH=/usr/bin:/bin', 'MODEL=large one']}
    root = pathlib.Path(shown['root'])
    assert os.access(root / '.singularity.d/runscript', os.X_OK) and os.readlink(root / 'bin/sh') == 'busybox'
    assert not (root / 'set-uid').stat().st_mode & stat.S_ISUID
    glovebox('image', 'verify')
    named = glovebox('image', 'load', '--json', '--name', 'example/segment:2', path).json
    assert named == [{'reference': 'docker.io/example/segment:2', 'digest': loaded[0]['digest'], 'new': False}]
    glovebox('image', 'save', '-o', 'saved.tar', 'example/segment:2')
    glovebox('image', 'remove', loaded[0]['digest'])
    assert glovebox('image', 'load', '--json', 'saved.tar').json == [dict(named[0], new=True)]
    assert (root / '.singularity.d/runscript').exists()


# ------------------------------------------------------------------- hostile

BAD = sorted(name for name, what in vars(bad_images).items()
             if callable(what) and getattr(what, '__module__', '') == 'bad_images'
             and not name.startswith(('_', 'tame_')))


@pytest.mark.parametrize('name', BAD)
def test_bad_images(glovebox, name):
    path = glovebox.folder / 'bad'
    getattr(bad_images, name)(str(path))
    done = glovebox('image', 'load', 'bad', status=None)
    assert done.returncode in (1, 2) and done.stdout == ''
    said = re.sub(r'[0-9a-f]{64}', 'DIGEST', re.sub(r'sha256:[0-9a-f]+', 'sha256:DIGEST', done.stderr))
    expected = IMAGES / 'bad' / (name.replace('_', '-') + '.txt')
    if os.environ.get('UPDATE_EXPECTED'):
        expected.write_text(said)
    assert said == expected.read_text()
    assert glovebox('image', 'list', '--json').json == []
    glovebox('image', 'gc')
    left = tree(store(glovebox))
    assert [path for path in left if re.search('[0-9a-f]{16}', path)] == []


def test_every_expectation_has_a_file():
    assert sorted(path.stem.replace('-', '_') for path in (IMAGES / 'bad').glob('*.txt')) == BAD


def test_layers_that_lead_out_stay_inside(glovebox):
    before = set(os.listdir('/tmp'))
    bad_images.tame_traversal(str(glovebox.folder / 'bad'))
    done = glovebox('image', 'load', 'bad', status=None)
    outside = [path for path in pathlib.Path(glovebox.folder).parent.rglob('*escaped*')
               if 'rootfs' not in path.parts]
    assert outside == [] and not [name for name in set(os.listdir('/tmp')) - before if 'escaped' in name]
    if done.returncode == 0:
        root = root_of(glovebox, 'example/bad:1')
        assert (root / 'absolute').exists()


def test_devices_and_set_uid_are_left_out(glovebox):
    bad_images.tame_devices(str(glovebox.folder / 'bad'))
    glovebox('image', 'load', 'bad')
    root = root_of(glovebox, 'example/bad:1')
    assert tree(root) == ['closed', 'closed/inside', 'dev', 'root-shell']
    assert stat.S_IMODE((root / 'root-shell').stat().st_mode) == 0o755
    glovebox('image', 'verify')


def test_whiteouts(glovebox):
    bad_images.tame_whiteouts(str(glovebox.folder / 'bad'))
    glovebox('image', 'load', 'bad')
    assert tree(root_of(glovebox, 'example/bad:1')) == ['b', 'folder', 'folder/new']



def policy(glovebox, **images):
    glovebox.home.mkdir(exist_ok=True)
    (glovebox.home / 'policy.json').write_text(json.dumps({'images': images}))


def test_a_limit_of_size(glovebox):
    """Of what comes in, and of what comes out of it."""
    path = build_archive(glovebox.folder / 'image.tar', 'example/big:1', {'big': {'zeros': 30 << 20}}, busybox=False,
                         form='oci', compress=True)
    assert os.path.getsize(path) < 1 << 20
    policy(glovebox, maximum_size='10MiB')
    done = glovebox('image', 'load', path, status=1)
    assert 'more than 10.0 MiB' in done.stderr and '"maximum_size"' in done.stderr
    policy(glovebox, maximum_size='10k')
    assert 'more than 10.0 KiB' in glovebox('image', 'load', path, status=1).stderr
    assert os.listdir(store(glovebox) / 'tmp') == []
    policy(glovebox, maximum_size='100MiB')
    glovebox('image', 'load', path)


def test_a_limit_of_files(glovebox):
    """It ends while files are coming out, not when all have."""
    count = 40000
    path = build_archive(glovebox.folder / 'image.tar', 'example/many:1',
                         {'many/%d' % i: b'' for i in range(count)}, busybox=False, compress=True)
    policy(glovebox, maximum_files=300)
    process = glovebox.start('image', 'load', path)
    most = 0
    while process.poll() is None:
        for folder in store(glovebox).glob('tmp/*/root/rootfs/many'):
            try:
                most = max(most, len(os.listdir(folder)))
            except FileNotFoundError:
                pass
        time.sleep(0.02)
    said = process.communicate()[1]
    assert process.returncode == 1 and 'more than 300 files' in said and '"maximum_files"' in said
    assert 0 < most < count
    assert os.listdir(store(glovebox) / 'tmp') == [] and os.listdir(store(glovebox) / 'roots') == []
    few = build_archive(glovebox.folder / 'few.tar', 'example/few:1', {'%d' % i: b'' for i in range(300)}, busybox=False)
    glovebox('image', 'load', few)
    policy(glovebox, maximum_files=299)
    few = build_archive(glovebox.folder / 'few.tar', 'example/few:2', {'x%d' % i: b'' for i in range(300)}, busybox=False)
    assert 'more than 299 files' in glovebox('image', 'load', few, status=1).stderr


CONTAINER = 'name: p\nsteps:\n  - {id: x, type: container, image: "%s", command: ["/bin/true"]}\n'


def test_the_policy_is_asked_when_a_run_begins(glovebox):
    path = build_archive(glovebox.folder / 'image.tar', 'example/tool:1')
    digest = glovebox('image', 'load', '--json', path).json[0]['digest']
    pipeline = glovebox.pipeline(CONTAINER % 'example/tool:1')
    for rules, word in ((dict(allow=['registry.example.org']), 'does not allow the image docker.io/example/tool:1'),
                        (dict(deny=['docker.io/example/*']), 'rule "docker.io/example/*" of images.deny'),
                        (dict(deny=[digest]), 'images.deny'),
                        (dict(allow=[{'name': 'docker.io/**', 'signed_by': __file__}]), 'none was verified')):
        policy(glovebox, **rules)
        done = glovebox('run', pipeline, status=3)
        assert word in done.stderr and str(glovebox.home / 'policy.json') in done.stderr, done.stderr
        assert 'warning' in glovebox('check', pipeline).stderr
        shown = glovebox('image', 'show', '--json', 'example/tool:1').json
        assert shown['policy']['allowed'] is False and word in shown['policy']['reason']
        assert word in glovebox('image', 'load', '--name', 'example/tool:1', path, status=1).stderr
    policy(glovebox, allow=['docker.io/example/tool:1'])
    glovebox('check', pipeline)
    assert glovebox('image', 'show', '--json', 'example/tool:1').json['policy'] == {'allowed': True, 'reason': None}


@pytest.mark.parametrize('rules, word', [
    (dict(deny=['docker.io/ex/**']), 'forbids'), (dict(deny=['docker.io/ex/usr:1']), 'forbids'),
    (dict(deny=['docker.io/ex/usr']), 'forbids'), (dict(allow=['docker.io/library/**']), 'does not allow')])
def test_a_digest_does_not_go_round_the_policy(glovebox, rules, word):
    """Whatever a pipeline calls an image, it is judged by the names that it has here."""
    path = build_archive(glovebox.folder / 'image.tar', 'ex/usr:1')
    digest = glovebox('image', 'load', '--json', path).json[0]['digest']
    names = ('ex/usr:1', 'ex/usr@' + digest, digest, digest[:26], digest[:19])
    for name in names:
        glovebox('run', glovebox.pipeline(CONTAINER % name))
    policy(glovebox, **rules)
    for name in names:
        done = glovebox('run', glovebox.pipeline(CONTAINER % name), status=3)
        assert word + ' the image docker.io/ex/usr' in done.stderr, (name, done.stderr)
        assert glovebox('image', 'show', '--json', name).json['policy']['allowed'] is False, name
    policy(glovebox, allow=['docker.io/ex/**'], deny=['docker.io/library/**'])
    for name in names:
        glovebox('run', glovebox.pipeline(CONTAINER % name))


def put_blob(folder, document):
    """Writes a document of an OCI folder; what describes it."""
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    (folder / 'blobs/sha256' / digest).write_bytes(data)
    return {'mediaType': 'application/vnd.oci.image.index.v1+json', 'digest': 'sha256:' + digest, 'size': len(data)}


def test_every_index_of_an_image_counts(glovebox):
    """Chosen from two indexes, it is what either of them means, and its own digest."""
    folder = glovebox.folder / 'image'
    build_archive(folder, 'ex/usr:1', form='oci-dir')
    listed = json.loads((folder / 'index.json').read_text())
    [manifest] = listed['manifests']
    names = manifest.pop('annotations')
    digests = [manifest['digest']]
    for number in '12':
        inner = put_blob(folder, {'schemaVersion': 2, 'manifests': [manifest], 'annotations': {'number': number},
                                  'mediaType': 'application/vnd.oci.image.index.v1+json'})
        (folder / 'index.json').write_text(json.dumps(dict(listed, manifests=[dict(inner, annotations=names)])))
        glovebox('image', 'load', folder)
        digests.append(inner['digest'])
    assert set(glovebox('image', 'show', '--json', 'ex/usr:1').json['indexes']) == set(digests[1:])
    pipeline = glovebox.pipeline(CONTAINER % 'ex/usr:1')
    for digest in digests:
        policy(glovebox, deny=[digest])
        assert 'images.deny' in glovebox('run', pipeline, status=3).stderr, digest
        policy(glovebox, allow=[digest])
        glovebox('run', pipeline)
    policy(glovebox, allow=['sha256:' + 64 * '0'])
    assert 'does not allow' in glovebox('run', pipeline, status=3).stderr


def test_another_name_does_not_go_round_the_policy(glovebox):
    path = build_archive(glovebox.folder / 'image.tar', 'ex/usr:1')
    glovebox('image', 'load', path)
    digest = glovebox('image', 'load', '--json', '--name', 'other/tool:1', path).json[0]['digest']
    for rule in ('docker.io/ex/*', 'docker.io/ex/usr:1'):
        policy(glovebox, deny=[rule])
        for name in ('other/tool:1', 'other/tool@' + digest):
            assert 'forbids the image docker.io/ex/usr' in glovebox(
                'run', glovebox.pipeline(CONTAINER % name), status=3).stderr
    policy(glovebox, allow=['docker.io/other/*'])
    glovebox('run', glovebox.pipeline(CONTAINER % 'other/tool:1'))
    glovebox('run', glovebox.pipeline(CONTAINER % digest))
    assert 'does not allow the image docker.io/ex/usr:1' in glovebox(
        'run', glovebox.pipeline(CONTAINER % 'ex/usr:1'), status=3).stderr


@pytest.mark.parametrize('images, word', [
    ({'allow': 'docker.io'}, 'must be a list of rules'), ({'allow': [1]}, 'must be a list of rules'),
    ({'allow': [{}]}, 'must be a list of rules'), ({'deny': [{'name': 'x'}]}, 'must be a list of rules'),
    ({'alow': []}, 'did you mean "allow"?'), ({'allow': [{'name': 'x', 'signed': 'y'}]}, 'unknown key "signed"'),
    ({'allow': [{'name': 'x', 'signed_by': 'key.gpg'}]}, 'an absolute path'), ({'maximum_size': 5}, 'a size such as'),
    ({'maximum_files': 0}, 'a number above 0'), ({'maximum_files': '5'}, 'a number above 0'),
    ({'registries': []}, 'must be an object'), ({'registries': {'x': {'mirrors': 'y'}}}, 'a list of places'),
    ({'registries': {'x': {'insecure': 'no'}}}, 'true or false'), ({'registries': {'x': {'mirror': []}}}, 'did you mean'),
    ({'registries': {'x': {'credentials': 'auth.json'}}}, 'an absolute path'), ([], 'must be an object')])
def test_mistakes_in_the_policy(glovebox, images, word):
    glovebox.home.mkdir()
    (glovebox.home / 'policy.json').write_text(json.dumps({'images': images}))
    done = glovebox('image', 'list', status=1)
    assert word in done.stderr and 'policy.json' in done.stderr, done.stderr


def test_a_run_that_is_not_over_keeps_its_image(glovebox):
    path = build_archive(glovebox.folder / 'image.tar', 'example/tool:1')
    glovebox('image', 'load', path)
    pipeline = glovebox.pipeline('name: p\nsteps:\n'
                                 '  - {id: look, type: manual_review, message: ok?}\n'
                                 '  - {id: x, type: container, image: "example/tool:1", command: ["/bin/true"], '
                                 'needs: [look]}\n')
    glovebox('run', pipeline, status=4)
    assert glovebox('image', 'list', '--json').json[0]['in_use'] is True
    digest = glovebox('image', 'list', '--json').json[0]['digest']
    assert glovebox('image', 'list').stdout.rstrip().endswith('in use')
    for name in 'example/tool:1', digest:
        done = glovebox('image', 'remove', name, status=1)
        assert 'in use by a run that is not over' in done.stderr
    glovebox('image', 'load', build_archive(glovebox.folder / 'new.tar', 'example/tool:1', {'new': 'new'}))
    assert glovebox('image', 'gc', '--json').json['images'] == 0
    glovebox('cancel', 'last')
    assert glovebox('image', 'gc', '--json').json['images'] == 1


# ------------------------------------------------------------------ survival

def is_locked(path, how):
    """Whether somebody has a lock on the file that leaves no room for one of this kind."""
    with open(path, 'rb') as file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def waits_for_lock(pid):
    return any(line.split()[1] == '->' and int(line.split()[5]) == pid
               for line in pathlib.Path('/proc/locks').read_text().splitlines())


def helpers(glovebox):
    """Programs that work in this store: by where they run, and by what they are told."""
    found = []
    for process in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            where, said = os.readlink(process / 'cwd'), (process / 'cmdline').read_bytes()
        except OSError:  # it has ended
            continue
        if where.startswith(str(store(glovebox))) or str(store(glovebox)).encode() in said:
            found.append(said)
    return found


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def nothing_runs_on(glovebox):
    """Programs end with the command that started them, and with them goes the store's lock."""
    wait_until(lambda: helpers(glovebox) == [])
    # one that ends has no command line any more before it lets go of its files
    wait_until(lambda: not is_locked(store(glovebox) / 'lock', fcntl.LOCK_EX))
    glovebox('image', 'gc')


def test_killed_while_unpacking(glovebox):
    path = build_archive(glovebox.folder / 'image.tar', 'example/many:1',
                         {'many/%d' % i: b'' for i in range(40000)}, busybox=False)
    for pattern in ('tmp/*/layout', 'tmp/*/root/rootfs', 'tmp/*/root/rootfs/many/1', 'tmp/*/root/rootfs/many/2000'):
        process = glovebox.start('image', 'load', path)
        wait_until(lambda: any(store(glovebox).glob(pattern)))
        if 'rootfs' in pattern:
            assert any(b'umoci' in one for one in helpers(glovebox))
        process.kill()
        process.wait()
        nothing_runs_on(glovebox)
        assert os.listdir(store(glovebox) / 'tmp') == [] and os.listdir(store(glovebox) / 'roots') == []


@pytest.mark.slow
def test_killed_at_any_moment(glovebox):
    """The old or the new, never something between; and nothing is left. Whoever loads waits at its last step, for
    the lock on the index that we have: so no moment is missed, however fast or slow it is."""
    path = build_archive(glovebox.folder / 'image.tar', 'example/big:1', {'big': {'zeros': 40 << 20}}, compress=False)
    glovebox('image', 'load', small(glovebox.folder / 'old.tar', 'example/old:1'))
    place = store(glovebox)
    blobs = len(os.listdir(place / 'blobs/sha256'))
    at_the_end = waits_for_lock
    moments = {
        'it has the lock': lambda pid: is_locked(place / 'lock', fcntl.LOCK_EX),
        'something is being made': lambda pid: os.listdir(place / 'tmp') or at_the_end(pid),
        'another program works for it': lambda pid: helpers(glovebox)[1:] or at_the_end(pid),
        'blobs have come': lambda pid: len(os.listdir(place / 'blobs/sha256')) > blobs or at_the_end(pid),
        'it is unpacked': lambda pid: len(os.listdir(place / 'roots')) > 1 or at_the_end(pid),
        'it is to be recorded': at_the_end,
    }

    def judge(names):
        nothing_runs_on(glovebox)
        assert {one['reference'] for one in glovebox('image', 'list', '--json').json} == set(names)
        assert all(one['good'] for one in glovebox('image', 'verify', '--json').json)

    for moment, has_come in moments.items():
        with open(place / 'index.lock', 'wb') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            loading = glovebox.start('image', 'load', path)
            wait_until(lambda: has_come(loading.pid))  # pylint: disable=cell-var-from-loop
            assert loading.poll() is None, moment
            loading.kill()
            loading.wait()
        judge(['docker.io/example/old:1'])
    loading = glovebox.start('image', 'load', path)
    wait_until(lambda: 'example/big' in (place / 'index.json').read_text())
    loading.kill()
    loading.wait()
    judge(['docker.io/example/big:1', 'docker.io/example/old:1'])
    glovebox('image', 'load', path)
    assert os.listdir(place / 'tmp') == [] and len(os.listdir(place / 'roots')) == 2


def test_many_load_at_once(glovebox):
    paths = [small(glovebox.folder / ('image-%d' % i), 'example/one:%d' % i, str(i % 3)) for i in range(6)]
    loaders = [glovebox.start('image', 'load', path) for path in paths]
    for loader in loaders:
        out, said = loader.communicate(timeout=60)
        assert loader.returncode == 0, said
    images = glovebox('image', 'list', '--json').json
    assert len(images) == 6 and len({one['digest'] for one in images}) == 3
    glovebox('image', 'verify')


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can become somebody else')
def test_without_root(glovebox, tmp_path):
    bad_images.tame_devices(str(glovebox.folder / 'bad'))
    build_archive(glovebox.folder / 'image.tar', 'example/hello:1', {'a': {'content': b'a', 'uid': 1000}})
    home = tmp_path / 'theirs'
    home.mkdir()
    os.chown(home, 65534, 65534)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.geteuid() and folder != pathlib.Path('/'):
            folder.chmod(folder.stat().st_mode | 0o011)
    binary = tmp_path / 'glovebox'
    shutil.copy(glovebox.binary, binary)

    def theirs(*arguments):
        return subprocess.run([binary, '--home', home / 'home', *arguments], text=True, capture_output=True,
                              user=65534, group=65534, extra_groups=[], check=True,
                              env=dict(glovebox.environment, HOME=str(home))).stdout

    theirs('image', 'load', glovebox.folder / 'image.tar')
    theirs('image', 'load', glovebox.folder / 'bad')
    theirs('image', 'verify')
    root = pathlib.Path(json.loads(theirs('image', 'show', '--json', 'example/bad:1'))['root'])
    assert (root / 'closed/inside').stat().st_uid == 65534
    theirs('image', 'remove', 'example/bad:1', 'example/hello:1')
    assert os.listdir(home / 'home/images/roots') == []


# -------------------------------------------------- between finding and writing down

@pytest.fixture
def pinned(glovebox):
    """An image, and a pipeline of it that has run, so that the home has its database."""
    glovebox('image', 'load', build_archive(glovebox.folder / 'image.tar', 'example/tool:1'))
    glovebox.file = glovebox.pipeline(CONTAINER % 'example/tool:1')
    glovebox('run', glovebox.file)
    return glovebox


def test_an_image_stays_while_a_run_of_it_is_being_made(pinned):
    """The run has pinned it, and cannot be written down as long as we write."""
    base = sqlite3.connect(str(next(pinned.home.glob('*.db'))), isolation_level=None)
    base.execute('BEGIN IMMEDIATE')
    run = pinned.start('run', pinned.file)
    wait_until(lambda: is_locked(store(pinned) / 'lock', fcntl.LOCK_EX))
    for command in (['remove', 'example/tool:1'], ['gc']):
        assert 'just being added or dropped' in pinned('image', *command, status=1).stderr
    base.execute('ROLLBACK')
    base.close()
    assert run.wait(60) == 0
    pinned('image', 'remove', 'example/tool:1')


def test_a_run_is_not_made_of_an_image_that_is_being_removed(pinned):
    """Who is needed is asked for under the lock; a run that comes then finds no image."""
    with open(store(pinned) / 'index.lock', 'wb') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        removing = pinned.start('image', 'remove', 'example/tool:1')
        wait_until(lambda: waits_for_lock(removing.pid))
        assert is_locked(store(pinned) / 'lock', fcntl.LOCK_SH)
        run = pinned.start('run', pinned.file)
        wait_until(lambda: waits_for_lock(run.pid))
        assert len(pinned('runs', '--json').json) == 1
    assert removing.wait(60) == 0
    said = run.communicate(timeout=60)[1]
    assert run.returncode != 0 and 'there is no image docker.io/example/tool:1' in said or \
        'there is no image example/tool:1' in said
    assert len(pinned('runs', '--json').json) == 1
