"""What ONE and its users ask of one session: prints what each call gives, as JSON.

Arguments: base URL, user name, password, the session's id.
"""
import json
import sys
import warnings

from one.api import ONE

warnings.simplefilter('ignore')
url, username, password, eid = sys.argv[1:]
one = ONE(base_url=url, username=username, password=password, silent=True)
one.alyx.cache_mode = None
path = one.eid2path(eid, query_type='remote')
pids, names = one.eid2pid(eid, query_type='remote')
results = {
    'path': path.session_path_short(),
    'path2eid': str(one.path2eid(path, query_type='remote')),
    'eid2ref': one.eid2ref(eid, as_dict=False),
    'details': sorted(map(str, one.get_details(eid))),
    'datasets': sorted(one.list_datasets(eid, query_type='remote')),
    'insertions': sorted(names or []),
    'pid2eid': [[str(e), name] for e, name in map(one.pid2eid, map(str, pids or []))],
    'trajectories': [
        sorted(one_['provenance'] for one_ in one.alyx.rest('trajectories', 'list', probe_insertion=str(pid)))
        for pid in pids or []
    ],
}
print(json.dumps(results))
