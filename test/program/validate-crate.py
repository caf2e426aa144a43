#!/usr/bin/env python3
"""Validates RO-Crates with the package roc-validator, without a network.

usage: validate-crate.py PACKAGES SEVERITY PROFILE=CRATE…

PACKAGES is what script/install-roc-validator made. The one thing that the validator would fetch is
the JSON-LD context of RO-Crate 1.1; it is given from there, and anything else is refused. Prints
"CRATE: SEVERITY CHECK: MESSAGE" for each issue; the exit status is 1 when there is any.
"""
import pathlib
import sys

packages, severity, *crates = sys.argv[1:]
sys.path.insert(0, packages)

import requests  # noqa: E402
from rocrate_validator import models, services  # noqa: E402
from rocrate_validator.utils import http  # noqa: E402

CONTEXT = 'https://w3id.org/ro/crate/1.1/context'


def answer(_self, url, **_options):
    if url != CONTEXT:
        raise requests.ConnectionError('nothing is fetched in tests: %s' % url)
    response = requests.Response()
    response.status_code = 200
    response.url = url
    response.headers['Content-Type'] = 'application/ld+json'
    response._content = (pathlib.Path(packages) / 'context-1.1.json').read_bytes()
    return response


http.HttpRequester.get = answer
found = False
for wanted in crates:
    profile, crate = wanted.split('=', 1)
    result = services.validate(services.ValidationSettings(
        rocrate_uri=models.URI(crate) if hasattr(models, 'URI') else crate,
        profile_identifier=profile, requirement_severity=models.Severity[severity]))
    for issue in result.get_issues():
        found = True
        print('%s: %s %s: %s' % (crate, issue.severity.name, issue.check.identifier,
                                 issue.message))
    if not result.executed_checks:
        found = True
        print('%s: nothing was checked' % crate)
    print('%s: %s: %d checks' % (crate, profile, len(result.executed_checks)))
sys.exit(1 if found else 0)
