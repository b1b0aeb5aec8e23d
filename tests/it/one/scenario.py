"""What people do with ONE, once through; prints everything that ONE gave as one JSON document.

The same document must come out whatever stands between ONE and the data. So nothing in it names the
place it was run at: the base URL and the cache directory are replaced by marks, records are listed in
the order they came in, and long lists are told by their length and a digest of all of them.

Works with ONE 3 and ONE 2. ONE's own REST cache is off, its parameters are in a home of its own (`HOME`).
"""
import argparse
import contextlib
import hashlib
import io
import json
import os
import sys
import uuid
import warnings
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import requests

import one
from one.api import ONE

LONG = 20  # lists with more records are told by a digest
REMOTE = {'query_type': 'remote'}


class Scenario:
    """The steps, and what they gave."""

    def __init__(self, client, base_url):
        self.one = client
        self.base_url = base_url
        self.results = {}

    def plain(self, value):
        """The value as JSON knows it, without a trace of the place it came from."""
        if isinstance(value, dict):
            return {str(self.plain(key)): self.plain(item) for key, item in value.items()}
        if isinstance(value, pd.DataFrame):
            return self.plain(value.reset_index().to_dict('records'))
        if isinstance(value, pd.Series):
            return self.plain(value.to_dict())
        if isinstance(value, (Path, uuid.UUID)):
            return self.plain(str(value))
        if isinstance(value, str):
            return value.replace(self.base_url, '<base>').replace(str(self.one.cache_dir), '<cache>')
        if isinstance(value, (date, datetime)):
            return value.isoformat()
        if value is None or value is pd.NaT or value is pd.NA:
            return None
        if isinstance(value, np.generic):
            return self.plain(value.item())
        if isinstance(value, float) and not np.isfinite(value):
            return str(value)
        if isinstance(value, (bool, int, float)):
            return value
        items = [self.plain(item) for item in value]  # lists, ONE's pages, its lazy ids
        if len(items) <= LONG:
            return items
        text = json.dumps(items, sort_keys=True)
        return {'count': len(items), 'first': items[0], 'digest': hashlib.sha256(text.encode()).hexdigest()}

    def note(self, name, value):
        """Keep what a step gave."""
        assert name not in self.results, name
        self.results[name] = self.plain(value)

    def printed(self, function, *args):
        """What ONE prints to whoever asks it for help."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            function(*args)
        return out.getvalue().splitlines()

    def records(self, endpoint, **filters):
        """All records, over all pages."""
        return list(self.one.alyx.rest(endpoint, 'list', **filters))

    def run(self):
        """All steps, in the order in which people take them."""
        self.help()
        self.documentation()
        sessions = self.lists()
        self.reads(sessions)
        eids = [ses['id'] for ses in sessions if ses['start_time'] and ses['number']]
        self.searches(sessions, eids)
        self.conversions(eids)
        self.tables()

    def help(self):
        """What there is to ask."""
        rest = self.one.alyx.rest
        self.note('rest()', ' '.join(self.printed(rest)))
        for endpoint in ('sessions', 'subjects', 'insertions', 'trajectories'):
            self.note(f'rest({endpoint!r})', ' '.join(self.printed(rest, endpoint)))
        self.note('search terms', sorted(self.one.search_terms(**REMOTE)))

    def documentation(self):
        """The queries of ONE's documentation."""
        ephys = {'performance_gte': 70, 'task_protocol': 'ephys'}
        self.note('docs: performance', [x['id'] for x in self.records('sessions', **ephys)])
        self.note('docs: search', self.one.search(task_protocol='ephys', **REMOTE))
        trajs = self.one.alyx.rest('trajectories', 'list', x=953.7, y=-1533.4)
        self.note('docs: trajectories', trajs)
        self.note('docs: session of the first', trajs[0]['session']['id'])
        subjects = self.records('subjects', lab='cortexlab', sex='F', alive=True)
        self.note('docs: subjects', [x['nickname'] for x in subjects])

    def lists(self):
        """Whole tables: in one page, and in several of ONE's own size or another."""
        for endpoint in ('labs', 'projects', 'users', 'dataset-types', 'data-formats', 'data-repository',
                         'tags', 'revisions', 'locations', 'procedures', 'subjects', 'insertions'):
            self.note(f'list {endpoint}', self.records(endpoint))
        sessions = self.records('sessions')
        self.note('list sessions', sessions)
        self.note('list sessions by 100', self.records('sessions', limit=100))
        self.note('list datasets by 1000', self.records('datasets', limit=1000))
        pages = self.one.alyx.rest('sessions', 'list', limit=50)
        self.note('number of sessions', len(pages))
        self.note('a session in the middle', pages[130])
        self.note('the last session', pages[-1])
        return sessions

    def reads(self, sessions):
        """Single records, by id, by nickname and by name; and one that there isn't."""
        read = self.one.alyx.rest
        for ses in sessions[::150]:
            self.note(f'read session {ses["id"]}', read('sessions', 'read', id=ses['id']))
            self.note(f'list id {ses["id"]}', self.records('sessions', id=ses['id']))
        for endpoint in ('insertions', 'trajectories', 'datasets'):
            record = read(endpoint, 'list', limit=5)[0]
            key = record.get('id') or record['url'].split('/')[-1]
            self.note(f'read {endpoint}', read(endpoint, 'read', id=key))
        self.note('read subject', read('subjects', 'read', id='KS004'))
        self.note('read lab', read('labs', 'read', id='cortexlab'))
        missing = str(uuid.UUID(int=1))
        for endpoint, key in (('subjects', 'nobody'), ('sessions', missing), ('insertions', missing)):
            try:
                read(endpoint, 'read', id=key)
            except requests.HTTPError as error:
                self.note(f'read no {endpoint}', [error.response.status_code, error.response.json()])
            else:
                raise AssertionError(f'there is no {endpoint} {key}')

    def searches(self, sessions, eids):
        """ONE's own search."""
        search = self.one.search
        self.note('search lab', search(lab='cortexlab', **REMOTE))
        ids, details = search(lab='cortexlab', details=True, **REMOTE)
        self.note('search lab, details', [list(ids), [dict(x) for x in details]])
        self.note('search subject', search(subject=sessions[100]['subject'], **REMOTE))
        day = next(ses for ses in sessions if ses['id'] == eids[50])['start_time'][:10]
        self.note('search date', search(date_range=[day, day], **REMOTE))
        self.note('search nothing', search(subject='nobody', **REMOTE))

    def conversions(self, eids):
        """From one name of a thing to another, and what belongs to it."""
        client = self.one
        inserted = self.records('insertions', limit=40)[:3]
        for ins in inserted:
            self.note(f'pid2eid {ins["id"]}', client.pid2eid(ins['id']))
            self.note(f'eid2pid {ins["id"]}', client.eid2pid(ins['session'], details=True))
            session = {'session': ins['session']}
            self.note(f'search_insertions {ins["id"]}', client.search_insertions(details=True, **session))
        for eid in eids[10:100:40]:
            self.note(f'list_datasets {eid}', client.list_datasets(eid, **REMOTE))
            self.note(f'list_datasets {eid}, details', client.list_datasets(eid, details=True, **REMOTE))
            self.note(f'get_details {eid}', client.get_details(eid, **REMOTE))
            self.note(f'get_details {eid}, full', client.get_details(eid, full=True, **REMOTE))
            path = client.eid2path(eid, **REMOTE)
            self.note(f'eid2path {eid}', path)
            self.note(f'path2eid {eid}', client.path2eid(path, **REMOTE))
        self.note('get_details of many', client.get_details(eids[:70], **REMOTE))

    def tables(self):
        """ONE's cache tables, downloaded and searched without asking again."""
        self.one.load_cache(clobber=True)
        cache = self.one._cache
        for table in ('sessions', 'datasets'):
            self.note(f'table {table}', cache[table].sort_index())
        self.note('downloaded', sorted(x.name for x in Path(self.one.cache_dir).glob('*.pqt')))
        self.note('local search', sorted(map(str, self.one.search(lab='cortexlab', query_type='local'))))


def main(kind=Scenario):
    """Run the scenario, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--base-url', required=True)
    parser.add_argument('--username')
    parser.add_argument('--password')
    parser.add_argument('--token')
    args = parser.parse_args()
    login = {'username': args.username, 'password': args.password, 'token': args.token}
    login = {key: value for key, value in login.items() if value is not None}
    home = Path(os.environ['HOME'])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        client = ONE(base_url=args.base_url, silent=True, mode='remote', cache_rest=None,
                     cache_dir=home / 'cache', **login)
        scenario = kind(client, args.base_url)
        scenario.note('user', client.alyx.user)
        scenario.run()
    notices = [str(x.message) for x in caught if issubclass(x.category, RuntimeWarning)]
    document = {'one': one.__version__, 'results': scenario.results, 'notices': notices}
    json.dump(document, sys.stdout, allow_nan=False, ensure_ascii=False)


if __name__ == '__main__':
    main()
