"""MedPerf's container_config files and workflows in real containers."""
import pytest
import yaml

from container_support import IMAGES, containers, image_builder  # noqa: F401 (a fixture)
from engine_support import public_file

PREPARATION = '''
container_type: %s
image: %s
tasks:
  prepare:
    run_args: {command: python3 /project/prepare.py}
    input_volumes:
      data_path: {mount_path: /mlcommons/volumes/raw_data, type: directory}
      labels_path: {mount_path: /mlcommons/volumes/raw_labels, type: directory}
    output_volumes:
      output_path: {mount_path: /mlcommons/volumes/data, type: directory}
      output_labels_path: {mount_path: /mlcommons/volumes/labels, type: directory}
  sanity_check:
    run_args: {command: [python3, /project/sanity_check.py]}
    input_volumes:
      data_path: {mount_path: /mlcommons/volumes/data, type: directory}
      labels_path: {mount_path: /mlcommons/volumes/labels, type: directory}
  statistics:
    run_args: {entrypoint: python, command: /project/statistics.py}
    input_volumes:
      data_path: {mount_path: /mlcommons/volumes/data, type: directory}
      labels_path: {mount_path: /mlcommons/volumes/labels, type: directory}
    output_volumes:
      output_path: {mount_path: /mlcommons/volumes/statistics/statistics.yaml, type: file}
'''


@pytest.fixture
def medperf(containers):
    raw = containers.data({'%d.png' % number: 'image %d' % number for number in range(3)}, 'raw')
    labels = containers.data({'labels.csv': 'a,b'}, 'raw-labels')
    containers.options = ['-i', 'data_path=%s' % raw, '-i', 'labels_path=%s' % labels,
                          '-i', 'output_path=%s' % (containers.folder / 'out')]
    return containers


def parameters(lab):
    return ['-i', 'parameters_file=%s' % (lab.data({'p.yaml': 'a: 1\n'}, 'parameters') / 'p.yaml')]


def statistics(lab):
    return yaml.safe_load(lab.volume('statistics_file').read_text())


# ---------------------------------------------------------------- where images come from

def test_an_image_of_the_store(medperf):
    medperf.load('medperf')
    medperf.run(PREPARATION % ('DockerImage', 'example/medperf:1.0'), *medperf.options)
    assert statistics(medperf) == {'images': 3}
    assert sorted(path.name for path in (medperf.folder / 'out').iterdir()) == [
        '0.png.gz', '1.png.gz', '2.png.gz']


@pytest.mark.parametrize('written', ['prep.tar', 'images/prep.tar', '%(folder)s/prep.tar',
                                     'https://example.org/files/prep.tar?download=1'])
def test_an_archive_beside_the_file(medperf, written):
    """It is loaded by itself, from where it lies; a URL's from what was downloaded."""
    archive = medperf.build('medperf')
    target = medperf.folder / ('images' if written.startswith('images') else '') / 'prep.tar'
    target.parent.mkdir(exist_ok=True)
    archive.rename(target)
    medperf.run(PREPARATION % ('DockerArchive', written % {'folder': medperf.folder}),
                *medperf.options)
    assert statistics(medperf) == {'images': 3}
    ((name, pinned),) = medperf.run_record()['images'].items()
    assert name == str(target) and 'example/medperf@sha256:' in pinned
    # The store has it by now: the run can be taken up again without the archive.
    target.unlink()
    medperf.glovebox('restart', 'last', '--from', 'statistics')
    assert medperf.tasks()['statistics']['attempts'] == 2
    assert medperf.state() == 'succeeded'


def test_a_singularity_file_beside_the_config(medperf):
    image_builder.build_sif(str(medperf.folder / 'prep.sif'), {
        'bin/python': (IMAGES / 'medperf/root/bin/python').read_text(),
        'bin/python3': {'link': 'python'},
        '.singularity.d/runscript': '#!/bin/sh\nexec "$@"\n',
        '.singularity.d/env/10-docker2singularity.sh': '#!/bin/sh\nexport MEDPERF_IMAGE=yes\n'})
    medperf.run(PREPARATION % ('SingularityFile', 'prep.sif'), *medperf.options)
    assert statistics(medperf) == {'images': 3}


def test_an_archive_of_a_sub_pipeline(medperf):
    """Its path is relative to the file that names it."""
    medperf.data({'inner/prep.yaml': 'steps:\n  - {id: a, image: ./medperf.tar, '
                                     'command: [sh, -c, "echo a > /out/x"]}\n'}, '.')
    medperf.build('medperf').rename(medperf.folder / 'inner' / 'medperf.tar')
    medperf.run('name: outer\nsteps: [{id: s, pipeline: inner/prep.yaml}]\n')
    assert medperf.output('s.a', 'x') == 'a\n'
    medperf.run('name: outer\nsteps: [{id: s, pipeline: inner/prep.yaml}]\n')
    assert medperf.states()['s.a'] == 'reused'


@pytest.mark.parametrize('kind, image, words', [
    ('DockerArchive', 'none.tar', ['3:8: error', 'there is no archive', 'none.tar']),
    ('DockerArchive', 'https://example.org/prep.tar.gz',
     ['3:8: error', 'is not fetched from the network', 'download it to', 'prep.tar.gz']),
    ('SingularityFile', 'library://example/prep.sif', ['is not fetched from the network']),
    ('EncryptedDockerArchive', 'x.tar', ['2:17: error', 'an encrypted image needs a key']),
    ('EncryptedSingularityFile', 'https://example.org/x.sif',
     ['2:17: error', 'an encrypted image needs a key', 'glovebox image load']),
    ('DockerImage', 'example/none:1', ['3:8: error', 'there is no image', 'glovebox image load']),
    ('DockerArchive', 'pipeline.yaml', ['pipeline.yaml'])])
def test_what_cannot_be_had_is_told(medperf, kind, image, words):
    path = medperf.glovebox.pipeline(PREPARATION % (kind, image))
    said = medperf.glovebox('run', path, *medperf.options, status=3).stderr
    for word in words:
        assert word in said, said
    assert medperf.newest() is None


# ----------------------------------------------------------------- MedPerf's own files

def example(path):
    return public_file('data/medperf/examples/' + path)


@pytest.mark.parametrize('path', ['data_preparator/container_config.yaml',
                                  'data_preparator_workflow/workflow.yaml'])
def test_the_public_chest_x_ray_preparation(medperf, path):
    file = example('chestxray_tutorial/' + path)
    medperf.load('medperf', 'mlcommons/chestxray-tutorial-prep:0.0.1')
    medperf.run_file(file, *medperf.options, *parameters(medperf))
    assert set(medperf.states().values()) == {'succeeded'}
    assert statistics(medperf) == {'images': 3}


def test_the_public_chest_x_ray_model_and_metrics(medperf):
    """Containers whose entry points are told nothing."""
    model = example('chestxray_tutorial/model_custom_cnn/container_config.yaml')
    metrics = example('chestxray_tutorial/metrics/container_config.yaml')
    for name, script in ('cnn', 'infer'), ('metrics', 'evaluate'):
        medperf.load_made('mlcommons/chestxray-tutorial-%s:0.0.1' % name,
                          {'bin/python': (IMAGES / 'medperf/root/bin/python').read_text()},
                          {'Entrypoint': ['/bin/python', script], 'Env': ['MEDPERF_IMAGE=yes']})
    data = medperf.data({'1.png': 'image'}, 'data')
    net = medperf.data({'net': 'normal\n'}, 'net')
    medperf.run_file(model, '-i', 'data_path=%s' % data, '-i', 'additional_files=%s' % net,
                     '-i', 'output_path=%s' % (medperf.folder / 'predictions'),
                     *parameters(medperf))
    assert (medperf.folder / 'predictions/predictions.yaml').read_text() == '1.png: normal\n'
    labels = medperf.data({'labels.yaml': '1.png: normal\n'}, 'labels')
    medperf.run_file(metrics, '-i', 'predictions=%s' % (medperf.folder / 'predictions'),
                     '-i', 'labels=%s' % labels, *parameters(medperf))
    assert medperf.volume('output_path').read_text() == 'score: 1\n'


def test_the_public_preparation_with_a_report(medperf):
    file = example('DataPrepManualSteps/data_prep/container_config.yaml')
    medperf.load('medperf', 'mlcommons/data-prep-manual:0.0.1')
    medperf.run_file(file, *medperf.options)
    assert statistics(medperf) == {'images': 3}
    assert medperf.volume('report_file').read_text() == 'status: {case: 1}\n'
    assert (medperf.volume('metadata_path') / 'facts.yaml').exists()


def test_the_public_hemnet_workflow(medperf):
    file = example('HEMnet/data_preparator/workflow.yaml')
    medperf.load('medperf', 'mlcommons/hemnet-airflow:0.0.1')
    raw = medperf.data({'one.svs': '', 'two.svs': ''}, 'slides')
    functions = medperf.data({'slides_definition.py': 'def slides_definition(state):\n'
                                                      '    return ["one", "two"]\n'}, 'functions')
    out = medperf.folder / 'slides-out'
    medperf.run_file(file, '-i', 'data_path=%s' % raw, '-i', 'output_path=%s' % out,
                     '-i', 'additional_files=%s' % functions)
    assert (out / 'metrics').read_text() == 'save_tiles of one\nsave_tiles of two\n'
    assert [path.name for path in out.iterdir() if path.is_dir()] == []
