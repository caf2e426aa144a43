"""What a review of the engine found: each was wrong once."""
import os
import stat

from engine_support import lab  # noqa: F401 (a fixture)


def test_a_result_that_is_a_link_is_not_read(lab):
    secret = lab.folder / 'secret.json'
    secret.write_text('["canary-of-the-host"]')
    lab.run('''
name: link
steps:
  - {id: list, command: "ln -s %s /out/result.json"}
  - {id: each, foreach: {json: list, items: ".[]"}, command: "echo ${item}"}
''' % secret, status=1)
    assert 'canary' not in str(lab.tasks()) and 'canary' not in lab.last.stdout + lab.last.stderr


def test_an_error_in_a_condition_of_next_fails_the_task_and_stays_failed(lab):
    run = lab.run('''
name: wrong
steps:
  - id: a
    command: "echo '{\\"n\\": \\"x\\"}' > /out/result.json"
    next: {if: [{jq: .n.foo > 3, target: b}], else: b}
  - {id: b, command: "echo hi > /out/x"}
''', status=1)
    assert lab.states()['a'] == 'failed' and 'condition of `next`' in lab.why('a')
    lab.glovebox('resume', run, status=1)
    assert lab.state() == 'failed'


def test_a_condition_of_next_sees_the_new_result(lab):
    lab.run('''
name: sees
steps:
  - id: a
    command: "echo '{\\"go\\": \\"left\\"}' > /out/result.json"
    next: {if: [{jq: .go == "left", target: left}], else: right}
  - {id: left, type: dummy}
  - {id: right, type: dummy}
''')
    assert lab.states() == {'a': 'succeeded', 'left': 'succeeded', 'right': 'skipped'}


def test_a_mistake_in_one_run_does_not_stop_the_home(lab):
    bad = {
        'review': '{id: r, type: manual_review, in: a/nope.txt}',
        'wait': '{id: w, type: wait, in: a, file: "${$results.a.n | error}", every: 100ms}',
        'until': '{id: u, type: wait, in: a, until: ".n.foo.bar | error", every: 100ms}',
    }
    for name, step in bad.items():
        lab.run('''
name: %s
steps:
  - {id: a, command: "echo '{\\"n\\": 1}' > /out/result.json"}
  - %s
''' % (name, step), status=1)
        assert lab.state() == 'failed', name
    lab.run('name: good\nsteps: [{id: g, command: "true"}]\n')
    assert lab.state() == 'succeeded'


def test_no_kind_of_shell_command_takes_a_value_as_text(lab):
    for command in ('["sh", "-c", "echo ${params.x}"]', '["/bin/sh", "-c", "echo ${params.x}"]',
                    '["/bin/bash", "-ec", "echo ${params.x}", "zero", "one"]',
                    'echo ${params.x}'):
        lab.run('name: quote\nparams: {x: {}}\nsteps: [{id: s, cache: false, command: %s}]\n' % (
            command if command[0] == '[' else '"%s"' % command),
                '-p', 'x=$(id) `id` "a;b" > /out/f')
        assert 'uid=' not in lab.log('s') and '$(id)' in lab.log('s'), command


def test_the_database_is_its_owner_s_alone(lab):
    lab.home.mkdir(mode=0o755)
    os.chmod(lab.home, 0o755)
    lab.run('name: modes\nsteps: [{id: s, command: "true"}]\n')
    for path in lab.home.glob('glovebox.db*'):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_what_a_person_left_stays_after_it_was_taken_over(lab):
    lab.run('''
name: keeps
steps:
  - {id: look, type: manual_review, out: [mask]}
  - {id: use, in: look, command: cat /in/mask}
''', status=4)
    [folder] = (lab.home / 'runs').glob('*/review/look/*/out')
    (folder / 'mask').write_text('by hand\n')
    lab.glovebox('resume', 'last')
    assert lab.log('use') == 'by hand\n' and (folder / 'mask').read_text() == 'by hand\n'


def test_an_output_folder_that_cannot_be_is_found_out_at_the_start(lab):
    blocked = lab.folder / 'blocked'
    blocked.write_text('a file')
    path = lab.glovebox.pipeline('name: out\nsteps: [{id: s, command: "true"}]\n')
    done = lab.glovebox('run', path, '-o', blocked, status=3)
    assert 'outputs cannot go there' in done.stderr
    assert lab.glovebox('runs', '--json').json == []
