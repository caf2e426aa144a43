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
