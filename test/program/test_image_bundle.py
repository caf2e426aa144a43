"""glovebox image save: images, and pipelines with all that they need, from one machine to another."""
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile

import pytest
from conftest import Glovebox
from image_support import build_archive, root_of, store

OUTER = '''name: study
params:
  model: {type: file, default: ../models/net.onnx}
  other: {type: file, default: %s}
  none: {type: file, default: missing.bin}
steps:
  - {id: one, type: container, image: "example/tool:1", command: [/bin/cat, "${params.model}", "${params.other}"]}
  - {id: inner, type: pipeline, pipeline: parts/inner.yaml, needs: [one]}
'''
INNER = '''name: inner
steps:
  - {id: two, type: container, image: "example/second@%s", command: [/bin/echo, two]}
'''


@pytest.fixture
def elsewhere(glovebox, tmp_path):
    folder = tmp_path / 'elsewhere'
    folder.mkdir()
    return Glovebox(glovebox.binary, tmp_path / 'other-home', folder)


@pytest.fixture
def study(glovebox):
    """A pipeline with a sub-pipeline, two models and two images, one of them pinned."""
    folder = glovebox.folder / 'study'
    (folder / 'flows/parts').mkdir(parents=True)
    (folder / 'models').mkdir()
    (folder / 'models/net.onnx').write_text('a model\n')
    absolute = glovebox.folder / 'far'
    absolute.mkdir()
    (absolute / 'atlas.nii').write_text('an atlas\n')
    glovebox('image', 'load', build_archive(glovebox.folder / 'a.tar', 'example/tool:1'))
    second = build_archive(glovebox.folder / 'b.tar', 'example/second:1', {'second': 'second'})
    digest = glovebox('image', 'load', '--json', second).json[0]['digest']
    (folder / 'flows/study.yaml').write_text(OUTER % (absolute / 'atlas.nii'))
    (folder / 'flows/parts/inner.yaml').write_text(INNER % digest)
    return folder / 'flows/study.yaml'


def test_a_bundle_runs_elsewhere(glovebox, elsewhere, study):
    saved = glovebox('image', 'save', '-o', 'bundle.tar', '--json', study).json
    assert len(saved['images']) == 2 and saved['files'] == 4
    again = glovebox.folder / 'again.tar'
    told = glovebox('image', 'save', '-o', again, study).stderr
    assert 'parameter none: no file is where its default says' in told and '2 images' in told
    assert again.read_bytes() == (glovebox.folder / 'bundle.tar').read_bytes()
    shutil.move(glovebox.folder / 'bundle.tar', elsewhere.folder / 'bundle.tar')
    shutil.rmtree(glovebox.folder)
    shutil.rmtree(glovebox.home)

    told = elsewhere('image', 'load', '--into', 'here', 'bundle.tar').stdout
    (elsewhere.folder / 'here/study/flows/missing.bin').touch()
    command = [line for line in told.splitlines() if line.startswith('glovebox run')]
    assert command == ['glovebox run --param other=here/study/files/other/atlas.nii here/study/flows/study.yaml']
    assert (elsewhere.folder / 'here/study/models/net.onnx').read_text() == 'a model\n'
    elsewhere('check', 'here/study/flows/study.yaml')
    elsewhere(*command[0].split()[1:], timeout=120)
    log = elsewhere('logs', 'last', 'one').stdout
    assert 'a model\nan atlas\n' in log
    assert elsewhere('image', 'verify').stdout.count(' good\n') == 2
    # Once more is no harm; another file in the same place is not overwritten.
    elsewhere('image', 'load', '--into', 'here', 'bundle.tar')
    (elsewhere.folder / 'here/study/models/net.onnx').write_text('mine\n')
    done = elsewhere('image', 'load', '--into', 'here', 'bundle.tar', status=1)
    assert 'another study/models/net.onnx is in here already' in done.stderr
    assert (elsewhere.folder / 'here/study/models/net.onnx').read_text() == 'mine\n'


def test_without_a_folder_only_images_come(glovebox, elsewhere, study):
    glovebox('image', 'save', '-o', elsewhere.folder / 'bundle.tar', study)
    told = elsewhere('image', 'load', 'bundle.tar').stdout
    assert 'pipeline study is in it too: --into DIR puts it there' in told
    assert os.listdir(elsewhere.folder) == ['bundle.tar']
    loaded = elsewhere('image', 'load', '--json', 'bundle.tar').json
    assert [one.get('pipeline') for one in loaded] == [None, None, 'study'] and loaded[2]['placed'] is False


def test_images_alone_are_an_oci_archive(glovebox, elsewhere):
    digest = glovebox('image', 'load', '--json', build_archive(
        glovebox.folder / 'a.tar', 'example/tool:1', {'a': 'a'}, form='oci', compress=True)).json[0]['digest']
    glovebox('image', 'save', '-o', 'saved.tar', 'example/tool:1')
    assert 'glovebox.json' not in tarfile.open(glovebox.folder / 'saved.tar').getnames()
    inspected = json.loads(subprocess.run(
        ['skopeo', 'inspect', 'oci-archive:%s' % (glovebox.folder / 'saved.tar')],
        check=True, capture_output=True).stdout)
    assert inspected['Digest'] == digest
    loaded = elsewhere('image', 'load', '--json', glovebox.folder / 'saved.tar').json
    assert loaded == [{'reference': 'docker.io/example/tool:1', 'digest': digest, 'new': True}]
    assert (root_of(elsewhere, 'example/tool:1') / 'a').read_text() == 'a'


def test_what_cannot_be_saved(glovebox):
    assert '--output is missing' in glovebox('image', 'save', 'x', status=2).stderr
    assert 'there is no image "x"' in glovebox('image', 'save', '-o', 'o', 'x', status=1).stderr
    glovebox.pipeline('name: p\nsteps:\n  - {id: x, type: container, image: "example/none:1"}\n', 'p.yaml')
    assert 'example/none:1' in glovebox('image', 'save', '-o', 'o', 'p.yaml', status=1).stderr
    glovebox.pipeline('name: p\nsteps: 5\n', 'bad.yaml')
    glovebox('image', 'save', '-o', 'o', 'bad.yaml', status=3)
    glovebox('image', 'load', build_archive(glovebox.folder / 'a.tar', 'example/tool:1'))
    largest = max((store(glovebox) / 'blobs/sha256').iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[600] ^= 1
    largest.write_bytes(content)
    assert 'is damaged' in glovebox('image', 'save', '-o', 'o', 'example/tool:1', status=1).stderr
    assert 'cannot' in glovebox('image', 'save', '-o', 'no/folder/o', 'example/tool:1', status=1).stderr
    assert [name for name in os.listdir(glovebox.folder) if name.startswith('o')] == []


def rewrite(path, change):
    """Writes an archive anew with `change(name, content)` for each file; None leaves it out."""
    made = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=made, mode='w', format=tarfile.PAX_FORMAT) as new:
        for member in old:
            content = change(member.name, old.extractfile(member).read())
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    pathlib.Path(path).write_bytes(made.getvalue())


@pytest.mark.parametrize('what, said', [
    ('model', 'the file pipelines/study/models/net.onnx is not the one that was saved'),
    ('missing', 'names a file that is not in it'),
    ('outside', 'names a file that leads elsewhere'),
    ('absolute', 'names a file that leads elsewhere'),
    ('no-file', 'has a pipeline without a file'),
    ('version', 'a form that this version does not know'),
    ('json', 'not JSON')])
def test_a_bundle_that_was_changed(glovebox, elsewhere, study, what, said):
    bundle = elsewhere.folder / 'bundle.tar'
    glovebox('image', 'save', '-o', bundle, study)
    evil = b'evil'

    def change(name, content):
        if name.endswith('net.onnx') and what in ('model', 'missing'):
            return b'another\n' if what == 'model' else None
        if name != 'glovebox.json':
            return content
        document = json.loads(content)
        if what in ('outside', 'absolute'):
            place = 'pipelines/../../evil' if what == 'outside' else '/tmp/evil'
            document['files'][place] = {'digest': 'sha256:' + hashlib.sha256(evil).hexdigest(), 'size': 4}
        elif what == 'no-file':
            document['pipelines'][0]['path'] = 'pipelines/x'
        elif what == 'version':
            document['version'] = 2
        elif what == 'json':
            return b'{'
        return json.dumps(document).encode()
    rewrite(bundle, change)
    done = elsewhere('image', 'load', '--into', 'here', 'bundle.tar', status=1)
    assert said in done.stderr, done.stderr
    assert not (elsewhere.folder / 'here').exists()
