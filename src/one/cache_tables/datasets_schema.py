"""Makes `datasets.schema`: the types of the datasets' table as Arrow writes them (`pip install pyarrow`).

Parquet's own types can't say that the words for a dataset's quality have an order, nor that they are a dictionary; Arrow's
readers take that, and all notes on the table, from this description. ONE's own notes on the table's origin differ from
file to file; their place is kept by as many `~` as they may be long, and filled with JSON and spaces.
"""
import json
from pathlib import Path

import pyarrow as pa

PLACE = '~' * 400
QUALITY = ['NOT_SET', 'PASS', 'WARNING', 'FAIL', 'CRITICAL']
COLUMNS = [  # name, Arrow's type, whether it may be null, pandas' word for the type, numpy's
    ('file_size', pa.uint64(), True, 'uint64', 'UInt64'),
    ('hash', pa.string(), True, 'unicode', 'object'),
    ('exists', pa.bool_(), False, 'bool', 'bool'),
    ('rel_path', pa.string(), False, 'unicode', 'object'),
    ('default_revision', pa.bool_(), False, 'bool', 'bool'),
    ('qc', pa.dictionary(pa.int8(), pa.string(), ordered=True), False, 'categorical', 'int8'),
    ('eid', pa.string(), False, 'unicode', 'object'),
    ('id', pa.string(), False, 'unicode', 'object'),
]


def main():
    """Write the description beside this script."""
    notes = {
        'index_columns': ['eid', 'id'],
        'column_indexes': [],
        'columns': [{'name': name, 'field_name': name, 'pandas_type': pandas, 'numpy_type': numpy, 'metadata': (
            {'num_categories': len(QUALITY), 'ordered': True} if name == 'qc' else None)}
            for name, _, _, pandas, numpy in COLUMNS],
        'creator': {'library': 'alyx-proxy', 'version': '1'},
        'pandas_version': '2.2.0',
    }
    fields = [pa.field(name, kind, nullable) for name, kind, nullable, _, _ in COLUMNS]
    schema = pa.schema(fields, metadata={'pandas': json.dumps(notes), 'one_metadata': PLACE})
    Path(__file__).with_name('datasets.schema').write_bytes(schema.serialize().to_pybytes())


if __name__ == '__main__':
    main()
