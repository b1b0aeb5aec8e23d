"""What ONE loads of a session's files: prints what each call gives, as JSON.

Arguments: user name, password, the session's id, its collection, the id of a dataset. The database is ONE's default one.
"""
import hashlib
import json
import sys
import tempfile
import warnings

from one.api import ONE

warnings.simplefilter('ignore')
username, password, eid, collection, dataset = sys.argv[1:]
one = ONE(username=username, password=password, silent=True, mode='remote')
one.alyx.cache_mode = None


def md5(path):
    with open(path, 'rb') as file:
        return hashlib.md5(file.read()).hexdigest()


where = {'collection': collection, 'query_type': 'remote'}
loaded = one.load_dataset(eid, 'spikes.times.npy', **where)
path = one.load_dataset(eid, 'spikes.times.npy', download_only=True, **where)
spikes = one.load_object(eid, 'spikes', **where)
paths = one.load_collection(eid, collection, download_only=True, query_type='remote')
record = one.alyx.rest('datasets', 'read', id=dataset)
urls = [file['data_url'] for file in record['file_records'] if file['data_url']]
with tempfile.TemporaryDirectory() as folder:
    by_url = md5(one.alyx.download_file(urls[0], target_dir=folder, clobber=True))
print(json.dumps({
    'base_url': one.alyx.base_url,
    'server': one.alyx._par.HTTP_DATA_SERVER,
    'sum': float(loaded.sum()),
    'dataset': md5(path),
    'object': {name: float(value.sum()) for name, value in spikes.items()},
    'collection': sorted([path.name, md5(path)] for path in paths),
    'urls': urls,
    'by_url': by_url,
}))
