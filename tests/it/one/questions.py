"""Questions that nobody has asked before; prints everything that ONE gave as one JSON document.

A proxy with a mirror must answer them without Alyx. Nothing here is asked twice, and nothing of it by `scenario.py`'s
steps, whose form of a document this is.
"""
import itertools
import uuid

from scenario import REMOTE, Scenario, main


class Questions(Scenario):
    """The questions, and what they gave."""

    def run(self):
        """All questions."""
        self.documentation()
        self.searches_of_every_kind()
        self.django()
        self.pages()
        self.singles()
        self.refusals()

    def searches_of_every_kind(self):
        """ONE's own search, by each of its terms and by Alyx's own filters."""
        kinds = {
            'one dataset': {'datasets': 'spikes.times.npy'},
            'datasets': {'datasets': ['spikes.times.npy', '_ibl_trials.table.pqt']},
            'dataset_type': {'dataset_types': 'spikes.times'},
            'dataset quality': {'datasets': '_ibl_trials.table.pqt', 'dataset_qc_lte': 'WARNING'},
            'region': {'atlas_acronym': 'TH'},
            'region above': {'atlas_acronym': 'HPF'},
            'region by name': {'atlas_name': 'thalamus'},
            'region by number': {'atlas_id': 997},
            'dates': {'date_range': ['2021-03-01', '2022-06-30']},
            'until a date': {'date_range': [None, '2021-01-31']},
            'since a date': {'date_range': ['2023-01-01', None]},
            'performance': {'performance_gte': 66},
            'bad performance': {'performance_lte': 40},
            'performance between': {'performance_gte': 50, 'performance_lte': 80},
            'number': {'number': 2},
            'lab and number': {'lab': 'cortexlab', 'number': 1},
            'users': {'users': 'lior'},
            'location': {'location': '_iblrig_'},
            'projects': {'projects': 'ibl'},
            'procedures': {'procedures': 'Behavior'},
            'quality': {'qc': 'PASS'},
            'histology': {'histology': True},
            'tag': {'tag': 'IBL_et_al'},
        }
        for name, terms in kinds.items():
            self.note(f'search: {name}', self.one.search(**terms, **REMOTE))
        for name, terms in (('region', {'atlas_acronym': 'VISp'}), ('dataset', {'dataset': 'channels.brainLocation'}),
                            ('project', {'project': 'ibl'}), ('lab', {'laboratory': 'cortexlab'})):
            self.note(f'search insertions: {name}', self.one.search_insertions(**terms, **REMOTE))

    def django(self):
        """Django's own lookups."""
        questions = {
            'sessions': ['number__gte,2', 'subject__nickname__icontains,ks0', "lab__name__in,['cortexlab','mainenlab']",
                         'end_time__isnull,True', '~task_protocol__icontains,ephys', 'start_time__date__gte,2022-01-01',
                         'qc__lt,40,~projects__name__icontains,brainwide', 'n_trials__range,[100,500]',
                         'data_dataset_session_related__dataset_type__name,spikes.times',
                         'probe_insertion__name,probe00,number__lte,3', 'extended_qc__behavior,1',
                         'subject__birth_date__year,2021', 'users__username__startswith,o'],
            'insertions': ['session__lab__name,cortexlab', 'session__projects__name__icontains,ibl_neuropixel_brainwide_01,session__qc__lt,50,~name,probe01',
                           'trajectory_estimate__provenance,70', 'datasets__name__icontains,spikes',
                           '~session__projects__name__icontains,ibl'],
            'datasets': ['session__subject__nickname,KS004', "name__in,['spikes.times.npy','spikes.clusters.npy']",
                         'collection__icontains,probe01', 'file_size__isnull,False,qc__gte,30', '~tags__isnull,True',
                         'session__isnull,True'],
            'trajectories': ['probe_insertion__session__subject__nickname,KS004', 'x__gte,1000,~provenance,70',
                             'depth__isnull,True'],
            'channels': ['brain_region__acronym,CA1', 'trajectory_estimate__provenance,70,axial__lte,100'],
            'subjects': ['nickname__istartswith,ks', 'projects__name__icontains,ibl,death_date__isnull,True',
                         '~responsible_user__username,root'],
        }
        for endpoint, texts in questions.items():
            for text in texts:
                records = list(self.one.alyx.rest(endpoint, 'list', django=text, limit=1000))
                if endpoint in ('datasets', 'trajectories', 'channels'):  # Alyx has no order for these
                    records.sort(key=lambda x: x.get('id') or x['url'])
                self.note(f'{endpoint}: {text}', records)

    def pages(self):
        """Any limit and offset, of lists in Alyx's order; each record of a walk comes once."""
        rest = self.one.alyx.rest
        for endpoint, limit, offset in (('sessions', 7, 13), ('sessions', 1000, 390), ('subjects', 3, 50),
                                        ('insertions', 40, 120), ('users', 11, 5), ('brain-regions', 97, 1300),
                                        ('dataset-types', 50, 200), ('sessions', 5, 100000)):
            page = self.one.alyx._generic_request(self.session_get, f'/{endpoint}?limit={limit}&offset={offset}')
            self.note(f'page of {endpoint}: {limit} from {offset}', list(page.items()))
        for endpoint, limit in (('datasets', 333), ('channels', 777), ('trajectories', 13), ('labs', 1)):
            records = list(rest(endpoint, 'list', limit=limit))
            keys = sorted(x.get('id') or x.get('url') or x['name'] for x in records)
            assert len(keys) == len(set(keys)), f'{endpoint} by {limit}: a record came twice'
            self.note(f'walk through {endpoint} by {limit}', keys)

    def singles(self):
        """Records by their keys, one of each kind."""
        rest = self.one.alyx.rest
        for endpoint in ('sessions', 'insertions', 'trajectories', 'channels', 'datasets', 'surgeries', 'weighings'):
            records = sorted(rest(endpoint, 'list', limit=1000), key=lambda x: x.get('id') or x['url'])
            for record in itertools.islice(records, 0, None, max(1, len(records) // 3)):
                key = record.get('id') or record['url'].split('/')[-1]
                self.note(f'{endpoint} {key}', rest(endpoint, 'read', id=key))
        for endpoint, key in (('subjects', 'KS005'), ('labs', 'cortexlab'), ('brain-regions', 997)):
            self.note(f'{endpoint} {key}', rest(endpoint, 'read', id=key))

    def refusals(self):
        """What Alyx refuses."""
        get = self.one.alyx._generic_request
        unknown = uuid.UUID(int=7)
        for path in (f'/sessions/{unknown}', '/subjects/no-one', f'/datasets?session={unknown}', '/sessions?number=x',
                     '/sessions?qc=SUPER', '/sessions?django=nonsense,1', '/sessions?django=number__gte',
                     '/insertions?id=no-uuid', '/brain-regions?ancestors=NoSuchRegion'):
            try:
                get(self.session_get, path)
            except Exception as error:  # noqa: every version of ONE has its own
                response = getattr(error, 'response', None)
                assert response is not None, f'{path}: {error!r}'
                self.note(f'refused {path}', [response.status_code, response.json()])
            else:
                raise AssertionError(f'{path} was answered')

    @property
    def session_get(self):
        """The function by which ONE asks."""
        import requests
        return requests.get


if __name__ == '__main__':
    main(Questions)
