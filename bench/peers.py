"""Other engines from PyPI for bench/engine: each function installs one and returns what runs a
fan-out of `count` tasks that call `true`, two at a time, from nothing."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

# The FastAPI of its time: with the newest one its tasks' requests were refused by its own API server. Whether
# this one suffices has not been seen.
AIRFLOW = ['apache-airflow==3.0.6', 'fastapi==0.116.1']


def install(venvs, name, *packages):
    """The bin folder of a virtual environment with the packages."""
    folder = venvs / name
    mark = folder / 'installed'
    if mark.exists() and mark.read_text() == ' '.join(packages):
        return folder / 'bin'
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    uv = ['-m', 'uv', 'pip', 'install', '-q', '--python', folder / 'bin/python', *packages]
    for command in ([sys.executable, '-m', 'venv', folder],
                    [folder / 'bin/pip', 'install', '-q', 'uv'], [folder / 'bin/python', *uv]):
        print('installing %s: %s' % (name, ' '.join(map(str, command))), file=sys.stderr)
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, timeout=900, check=False)
        if done.returncode:
            raise RuntimeError('it does not install: %s' % done.stdout)
    mark.write_text(' '.join(packages))
    return folder / 'bin'


def fresh(folder, name):
    return pathlib.Path(tempfile.mkdtemp(prefix=name + '-', dir=folder))


SNAKEFILE = '''
rule all:
    input: expand("done/{n}", n=range(%d))
rule noop:
    output: touch("done/{n}")
    shell: "true"
'''


def snakemake(venvs, folder, count, measure):
    """With its defaults: two cores, a file a task says that it is done."""
    program = install(venvs, 'snakemake', 'snakemake') / 'snakemake'

    def run():
        place = fresh(folder, 'snakemake')
        (place / 'Snakefile').write_text(SNAKEFILE % count)
        environment = dict(os.environ, XDG_CACHE_HOME=str(place / 'cache'))
        result = measure([program, '--cores', '2', '--quiet', 'all'], cwd=place, env=environment)
        assert len(list((place / 'done').iterdir())) == count
        return result
    return run


LUIGI = '''
import subprocess
import luigi

class Noop(luigi.Task):
    n = luigi.IntParameter()
    def output(self):
        return luigi.LocalTarget('done/%%d' %% self.n)
    def run(self):
        subprocess.run(['true'], check=True)
        with self.output().open('w'):
            pass

ok = luigi.build([Noop(n=n) for n in range(%d)], local_scheduler=True, workers=2,
                 log_level='ERROR')
raise SystemExit(not ok)
'''


def luigi(venvs, folder, count, measure):
    """With the local scheduler and two workers."""
    program = install(venvs, 'luigi', 'luigi', 'setuptools<81') / 'python'

    def run():
        place = fresh(folder, 'luigi')
        (place / 'noop.py').write_text(LUIGI % count)
        result = measure([program, 'noop.py'], cwd=place)
        assert len(list((place / 'done').iterdir())) == count
        return result
    return run


DAG = '''
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG('fan', schedule=None, max_active_tasks=2, catchup=False):
    BashOperator.partial(task_id='noop').expand(bash_command=['true'] * %d)
'''
DOCKER_DAG = '''
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import DAG

with DAG('fan', schedule=None, max_active_tasks=2, catchup=False):
    DockerOperator.partial(task_id='noop', image=%r, docker_url=%r, network_mode='none', auto_remove='force',
                           mount_tmp_dir=False).expand(command=['true'] * %d)
'''


class Airflow:
    """A whole installation with a database of its own; the time is from trigger to success."""

    def __init__(self, program, place, dag):
        self.program, self.place = program, place
        (place / 'dags').mkdir()
        (place / 'dags' / 'fan.py').write_text(dag)
        settings = {'CORE__EXECUTOR': 'LocalExecutor', 'CORE__PARALLELISM': '2',
                    'CORE__LOAD_EXAMPLES': 'False', 'CORE__DAGS_FOLDER': str(place / 'dags'),
                    'CORE__MAX_ACTIVE_TASKS_PER_DAG': '2', 'CORE__MAX_MAP_LENGTH': '100000',
                    'API__PORT': '18080', 'API__WORKERS': '1',
                    'CORE__DAGBAG_IMPORT_TIMEOUT': '300',  # a DAG of its operators takes seconds to import
                    'DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT': '300',
                    'CORE__EXECUTION_API_SERVER_URL': 'http://localhost:18080/execution/',
                    'CORE__DAGS_ARE_PAUSED_AT_CREATION': 'False'}
        self.environment = dict(os.environ, AIRFLOW_HOME=str(place), PATH='%s:%s' % (
            program.parent, os.environ['PATH']), **{
                'AIRFLOW__' + name: value for name, value in settings.items()})

    def call(self, *command):
        return subprocess.run([str(self.program), *command], env=self.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              timeout=300)

    def wait(self, what, seconds, message):
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                raise RuntimeError(message)
            time.sleep(0.5)

    def answers(self):
        try:
            with urllib.request.urlopen('http://localhost:18080/api/v2/monitor/health', timeout=5):
                return True
        except OSError:
            return False

    def state(self):
        done = self.call('dags', 'list-runs', 'fan', '-o', 'json')
        try:
            runs = json.loads(done.stdout[done.stdout.index('['):])
        except ValueError:
            return None
        return runs[0]['state'] if runs else None

    def run(self, count):
        with open(self.place / 'log', 'wb') as log:
            server = subprocess.Popen([str(self.program), 'standalone'], env=self.environment,
                                      stdout=log, stderr=log, start_new_session=True)
        try:
            self.wait(lambda: 'fan' in self.call('dags', 'list').stdout, 300,
                      'its DAG never came to be listed; see %s' % (self.place / 'log'))
            self.wait(self.answers, 300, 'its API server never answered')
            start = time.monotonic()
            if self.call('dags', 'trigger', 'fan').returncode:
                raise RuntimeError('it cannot be triggered')
            self.wait(lambda: self.state() in ('success', 'failed'), 120 + 10 * count,
                      'its run never ended')
            wall = time.monotonic() - start
            assert self.state() == 'success'
            return wall, float('nan'), float('nan')
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            time.sleep(2)
            try:
                os.killpg(server.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            server.wait()


def airflow(venvs, folder, count, _):
    """With its LocalExecutor, SQLite and two tasks at a time, as `airflow standalone` starts it."""
    program = install(venvs, 'airflow', *AIRFLOW) / 'airflow'
    return lambda: Airflow(program, fresh(folder, 'airflow'), DAG % count).run(count)


def airflow_docker(venvs, folder, count, image, daemon):
    """The same with its DockerOperator; `daemon` is the URL of dockerd, which has the image."""
    program = install(venvs, 'airflow-docker', *AIRFLOW, 'apache-airflow-providers-docker') / 'airflow'
    return lambda: Airflow(program, fresh(folder, 'airflow'), DOCKER_DAG % (image, daemon, count)).run(count)
