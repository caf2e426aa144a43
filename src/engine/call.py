"""Calls the functions that a MedPerf workflow names, and leaves their answer in /out/answer.json.

Runs as `python3 -I -B -c THIS REQUEST` in a sealed box. The request is JSON:
    {"conditions": [FUNCTION…]} or {"partitions": FUNCTION},
    "path": [FOLDER…]     where modules are looked for
    "state": {…}          the attributes of the state object that each function is given
The answer is one of
    {"chosen": N}         the first condition that is true, or null
    {"partitions": [TEXT…]}
    {"problem": WORD, "function": NAME, "detail": TEXT}
Messages of exceptions may name patients: they go to the standard error only.
"""
import importlib
import json
import os
import sys
import traceback


class PipelineState:
    """What MedPerf's functions know of the run."""

    def __init__(self, attributes):
        self.airflow_kwargs = {}
        self.__dict__.update(attributes)


class Problem(Exception):
    def __init__(self, word, function, detail=''):
        super().__init__(word)
        self.answer = {'problem': word, 'function': function, 'detail': detail}


def guard(name, work):
    """What `work` returns; whatever it raises becomes a problem without its message."""
    try:
        return work()
    except Problem:
        raise
    except BaseException as error:
        traceback.print_exc()
        raise Problem('raised', name, type(error).__name__) from None


def find(name):
    module, _, function = name.rpartition('.')
    if not module:
        raise Problem('name', name)
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        traceback.print_exc()
        own = error.name and (module + '.').startswith(error.name + '.')
        raise Problem('no_module' if own else 'no_import', name, error.name or '') from None
    if not callable(getattr(loaded, function, None)):
        raise Problem('no_function', name)
    return getattr(loaded, function)


def call(name, state):
    return guard(name, lambda: guard(name, lambda: find(name))(PipelineState(state)))


def first_true(names, state):
    for number, name in enumerate(names):
        answer = call(name, state)
        if guard(name, lambda: bool(answer)):
            return number
    return None


def partitions(name, state):
    answer = call(name, state)
    if not isinstance(answer, (list, tuple)):
        raise Problem('type', name, type(answer).__name__)
    for part in answer:
        if not isinstance(part, str):
            raise Problem('item', name, type(part).__name__)
        if '\0' in part or part != part.encode(errors='replace').decode():
            raise Problem('text', name)
    return list(answer)


def main():
    request = json.loads(sys.argv[1])
    sys.path[:0] = request['path']
    try:
        if 'partitions' in request:
            answer = {'partitions': partitions(request['partitions'], request['state'])}
        else:
            answer = {'chosen': first_true(request['conditions'], request['state'])}
    except Problem as problem:
        answer = problem.answer
    with open('/out/answer.json', 'w', encoding='utf-8') as file:
        json.dump(answer, file)
    for stream in sys.stdout, sys.stderr:
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass # the function has closed it
    os._exit(0) # whatever threads it has left


main()
