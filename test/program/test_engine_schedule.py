"""Who runs next: the longest way first, then the oldest, over all runs; and nothing starves."""
import os

from engine_support import JUDGE_INPUT, JUDGE_MOUNT, lab, wait_until  # noqa: F401

CPUS = len(os.sched_getaffinity(0))


def test_a_large_task_does_not_starve_behind_small_ones(lab):
    """Two small ones always fit together, so that the large one never finds the machine empty."""
    lab.data({'s%03d/a' % i: '' for i in range(40)})
    lab.run('''
name: pack
inputs:
  data: {type: directory}
%ssteps:
  - id: small
    foreach: {directories: inputs.data}
    resources: {cpus: %s}
    mounts: [{name: judge, path: /judge, from: inputs.judge, writable: true}]
    command: 'n=${partition}; case $n in *[02468]) sleep 0.6;; *) sleep 0.5;; esac;
      echo $n >> /judge/log'
  - id: large
    resources: {cpus: %s}
%s    command: 'echo large >> /judge/log'
''' % (JUDGE_INPUT, CPUS / 2, CPUS, JUDGE_MOUNT), '-i', 'data=data', '-i', 'judge=%s' % lab.judge())
    lines = lab.judged()
    assert len(lines) == 41
    assert lines.index('large') < 36, 'it ran when nothing else was left'


def test_the_longest_way_goes_first_over_all_runs(lab):
    lab.data({'s%03d/a' % i: '' for i in range(12)})
    judge = lab.judge()
    flat = '''
name: flat
inputs:
  data: {type: directory}
%ssteps:
  - id: only
    foreach: {directories: inputs.data}
    resources: {cpus: %s}
%s    command: 'sleep 0.5; echo flat >> /judge/log'
''' % (JUDGE_INPUT, CPUS, JUDGE_MOUNT)
    path = lab.glovebox.pipeline(flat, 'flat.yaml')
    first = lab.glovebox.start('run', path, '-i', 'data=data', '-i', 'judge=%s' % judge)
    wait_until(lambda: lab.judged())
    deep = '''
name: deep
%sinputs:
%ssteps:
  - id: one
    resources: {cpus: %s}
%s    command: 'echo one >> /judge/log'
  - id: two
    needs: [one]
    resources: {cpus: %s}
%s    command: 'echo two >> /judge/log'
''' % ('', JUDGE_INPUT, CPUS, JUDGE_MOUNT, CPUS, JUDGE_MOUNT)
    lab.run(deep, '-i', 'judge=%s' % judge)
    assert first.wait(60) == 0
    lines = lab.judged()
    assert 'flat' in lines[lines.index('one'):], 'the run that was made later had to wait'


QUICK = '''
name: quick
inputs:
  list: {type: file}
%ssteps:
  - id: quick
    foreach: {csv: inputs.list, key: n}
    cache: false
%s    command: 'n=${partition}; touch /judge/now.$n; ls /judge | grep -c now. >> /judge/log;
      rm /judge/now.$n'
'''


def test_tasks_launched_ahead_never_run_beside_each_other(lab):
    """Those of milliseconds wait in a line behind one that runs: the room taken stays the same."""
    (lab.folder / 'list.csv').write_text('n\n' + '\n'.join(map(str, range(400))) + '\n')
    path = lab.glovebox.pipeline(QUICK % (JUDGE_INPUT, JUDGE_MOUNT), 'quick.yaml')
    lab.glovebox('run', path, '-i', 'list=list.csv', '-i', 'judge=%s' % lab.judge())
    lines = [int(line) for line in lab.judged()]
    assert len(lines) == 400 and max(lines) <= CPUS


def test_a_cancelled_run_withdraws_what_was_launched_ahead(lab):
    (lab.folder / 'list.csv').write_text('n\n' + '\n'.join(map(str, range(5000))) + '\n')
    path = lab.glovebox.pipeline(QUICK % (JUDGE_INPUT, JUDGE_MOUNT), 'quick.yaml')
    running = lab.glovebox.start('run', path, '-i', 'list=list.csv',
                                 '-i', 'judge=%s' % lab.judge())
    wait_until(lambda: len(lab.judged()) > 100)
    lab.glovebox('cancel', 'last')
    assert running.wait(60) == 1
    done = len(lab.judged())
    counts = lab.counts()
    assert counts['succeeded'] + counts['cancelled'] == 5000 and counts['succeeded'] <= done
    assert done < 5000 and not any(name.startswith('now.') for name in os.listdir(lab.judge()))
