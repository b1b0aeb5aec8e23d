"""ONE without a server: the same searches and lists from tables of a folder (`$HOME/tables`) and from a proxy.

Each question is noted twice, as `local: …` and as `remote: …`.
"""
import os
from pathlib import Path

from one.api import ONE
from scenario import REMOTE, Scenario, main


class Local(Scenario):
    """The questions, and what each of the two gave."""

    def run(self):
        """All questions."""
        tables = Path(os.environ['HOME']) / 'tables'
        local = ONE(mode='local', cache_dir=self.one.cache_dir, tables_dir=tables)
        # Alyx leaves such sessions out of its tables too (ONE can't name their folders).
        needed = ('number', 'lab', 'subject', 'start_time')
        nameless = {x['id'] for x in self.records('sessions') if any(x[field] is None for field in needed)}
        for name, terms in {
            'lab': {'lab': 'cortexlab'},
            'subject': {'subject': 'KS004'},
            'protocol': {'task_protocol': 'ephysChoiceWorld'},
            'project': {'projects': 'ibl_neuropixel_brainwide_01'},  # ONE minds the case in `local` mode only
            'number': {'number': 2},
            'dates': {'date_range': ['2021-03-01', '2022-06-30']},
            'lab and day': {'lab': 'cortexlab', 'date_range': ['2019-01-01', '2020-12-31']},
            'datasets': {'datasets': ['spikes.times.npy', '_ibl_trials.table.pqt']},
            'quality': {'datasets': '_ibl_trials.table.pqt', 'dataset_qc_lte': 'WARNING'},
            'nothing': {'subject': 'nobody'},
        }.items():
            self.both(f'search {name}', sorted(map(str, local.search(**terms))),
                      sorted(set(map(str, self.one.search(**terms, **REMOTE))) - nameless))
        eids = sorted(map(str, local.search(lab='cortexlab')))
        for eid in eids[3:60]:
            listed = local.list_datasets(eid)  # an empty table, where there are none
            self.both(f'list_datasets {eid}', sorted(listed) if len(listed) else [],
                      sorted(self.one.list_datasets(eid, **REMOTE)))
        for eid in eids[:3]:  # ONE itself fails on details of what it has listed before
            self.both(f'details {eid}', self.frame(local.list_datasets(eid, details=True)),
                      self.frame(self.one.list_datasets(eid, details=True, **REMOTE)))
        self.note('qualities', list(local._cache['datasets']['qc'].cat.categories))
        self.note('quality is ordered', bool(local._cache['datasets']['qc'].cat.ordered))
        self.note('types', {column: str(kind) for column, kind in local._cache['datasets'].dtypes.items()})
        self.note('origin', sorted(local._cache['_meta']['raw']['sessions']['origin']))

    def both(self, name, local, remote):
        """Keep what the two gave."""
        self.note(f'local: {name}', local)
        self.note(f'remote: {name}', remote)

    @staticmethod
    def frame(table):
        """A table's records, whatever the order of its rows and columns."""
        columns = ['rel_path', 'file_size', 'hash', 'exists', 'default_revision', 'qc']
        return table.reset_index()[columns].astype({'qc': str}).sort_values('rel_path')


if __name__ == '__main__':
    main(Local)
