"""Symbolic links that a guest leaves, or that lie in an input, never lead out of their folder."""
import os

from engine_support import lab  # noqa: F401 (a fixture)

SECRET = 'the-host-s-own-secret'


def plant(lab):
    """A file of the host that no task was given."""
    path = lab.folder / 'secret'
    path.write_text(SECRET)
    return path


def assert_kept(lab, *texts):
    """The secret is nowhere below the home, nor in the texts."""
    for text in texts:
        assert SECRET not in text
    for folder, _, files in os.walk(lab.home):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, 'rb') as file:
                    assert SECRET.encode() not in file.read(), path


def leak(lab, consumer, **options):
    secret = plant(lab)
    run = lab.run('''
name: links
steps:
  - id: guest
    command: ln -s %s /out/file; ln -s %s /out/folder; ln -s / /out/root; echo ok > /out/ok
%s''' % (secret, secret.parent, consumer), **options)
    return run


def test_a_step_does_not_read_through_a_link(lab):
    for reference in ('guest/file', 'guest/folder/secret', 'guest/root%s' % (lab.folder / 'secret')):
        leak(lab, '  - {id: reader, in: %s, command: "cat ${in}"}\n' % reference, status=1)
        assert lab.tasks()['reader']['cause'] == 'policy', reference
        assert 'leads outside' in lab.why('reader')
        assert_kept(lab)


def test_a_fan_does_not_follow_a_link(lab):
    leak(lab, '''  - id: reader
    foreach: guest/**
    on_failure: continue
    command: cat ${in}
''', status=1)
    assert lab.states()['reader@ok'] == 'succeeded'
    for name in ('file', 'folder', 'root'):
        assert lab.tasks()['reader@%s' % name]['cause'] == 'policy'
    assert_kept(lab)


def test_a_fan_is_not_made_below_a_link(lab):
    leak(lab, '  - {id: reader, foreach: {glob: guest/folder/*}, command: "cat ${in}"}\n', status=1)
    [problem] = lab.glovebox('status', 'last', '--json').json['problems']
    assert 'leads outside' in problem['message']
    assert_kept(lab)


def test_an_output_is_not_delivered_through_a_link(lab):
    for reference in ('guest/file', 'guest/folder', 'guest/root/etc'):
        leak(lab, 'outputs: {out: %s}\n' % reference, status=1)
        status = lab.glovebox('status', 'last', '--json').json
        assert 'leads outside' in status['note']
        assert_kept(lab)


def test_links_inside_are_followed_and_their_content_counts(lab):
    data = lab.data({'real/f': 'one\n'})
    (data / 'link').symlink_to('real/f')
    text = '''
name: inside
inputs: {data: {}}
steps:
  - {id: one, foreach: inputs.data/li*, command: "cat ${in} > /out/x"}
  - {id: whole, in: inputs.data/link, command: "cat ${in} > /out/x; ln -s x /out/y"}
  - {id: next, in: whole/y, command: "cat ${in} > /out/z"}
'''
    lab.run(text, '-i', 'data=%s' % data)
    assert lab.output('one@link', 'x') == lab.output('next', 'z') == 'one\n'
    (data / 'real/f').write_text('another\n')
    lab.run(text, '-i', 'data=%s' % data)
    assert set(lab.states().values()) == {'succeeded'}
    assert lab.output('one@link', 'x') == lab.output('next', 'z') == 'another\n'


def test_a_link_in_an_input_does_not_lead_out(lab):
    secret = plant(lab)
    data = lab.data({'f': 'x\n'})
    (data / 'out').symlink_to(secret)
    lab.run('''
name: input
inputs: {data: {}}
steps:
  - {id: one, foreach: inputs.data/*, command: "cat ${in}", on_failure: continue}
  - {id: whole, in: inputs.data, command: "cat ${in}/out", on_failure: continue}
''', '-i', 'data=%s' % data, status=1)
    assert lab.states() == {'one@f': 'succeeded', 'one@out': 'failed', 'whole': 'failed'}
    assert lab.tasks()['one@out']['cause'] == 'policy'
    assert_kept(lab)


LINKS = """
name: links
inputs: {data: {}}
outputs: {all: guest}
steps:
  - id: guest
    foreach: inputs.data/*
    command: cd /out; mkdir d; echo x > d/f; ln -s d/f in; ln -s ../d/f d/too; ln -s ../f d/up;
             ln -s ../../f d/out; ln -s /out/d/f absolute
  - {id: joined, in: guest, command: "ls -R ${in}"}
"""


def test_links_that_are_left_out_are_told(lab):
    """Two of five in each of two tasks: once, with their number, and without a partition's name."""
    data = lab.data({'anna': '1', 'bert': '2'})
    lab.run(LINKS, '-i', 'data=%s' % data)
    [warning] = lab.glovebox('status', 'last', '--json').json['warnings']
    assert warning['message'].startswith(
        'step guest: 4 symbolic links in what it left lead outside, and are left out')
    assert 'anna' not in str(warning)
    assert warning['message'] in lab.last.stderr
    assert warning['message'] in lab.glovebox('status', 'last').stdout
    out = lab.folder_of() / 'outputs' / 'all' / 'anna'
    links = sorted(str(path.relative_to(out)) for path in out.rglob('*') if path.is_symlink())
    assert links == ['d/too', 'd/up', 'in']


def test_links_of_a_review_that_are_left_out_are_told(lab):
    lab.run('name: review\nsteps: [{id: look, type: manual_review, out: [note]}]\n', status=4)
    [review] = (lab.home / 'runs').glob('*/review/look/*/out')
    (review / 'away').symlink_to('/etc/hostname')
    (review / 'note').write_text('fine')
    lab.glovebox('resume', 'last')
    [warning] = lab.glovebox('status', 'last', '--json').json['warnings']
    assert warning['message'].startswith('step look: 1 symbolic link in what it left leads outside')
