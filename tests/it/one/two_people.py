"""One of two people who work with the same records at once: registration, quality control, JSON columns, water, weighing.

What is done stands in `plan.json` beside the home; both wait for each other there before each step. Notes of each attempt
when it began and ended and what was told: that it is done, or status and text. A record that has changed meanwhile (409)
is read again, as the text says.
"""
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from one.registration import RegistrationClient
from scenario import Scenario, main

ATTEMPTS = 8


class Person(Scenario):
    """What one of the two does."""

    def run(self):
        """All of it, each kind beside the others."""
        self.home = Path(os.environ['HOME'])
        self.plan = json.loads((self.home.parent / 'plan.json').read_text())
        self.me = self.one.alyx.user
        self.place = self.plan['people'].index(self.me)
        self.attempts = []
        self.registration = RegistrationClient(self.one)
        # What was read before may be given again.
        self.together(lambda item: self.one.alyx.rest(item[0], 'read', id=item[1]), self.plan['records'].items())
        updates = [self.json_of(endpoint) for endpoint in self.plan['records']]
        self.meet('the first')
        # The second has written nothing yet, and has copies from before what the first writes.
        if self.place == 0:
            self.together(lambda update: update('first'), updates)
        self.meet('the second')
        if self.place == 1:
            self.together(lambda update: update('first'), updates)
        self.together(self.rounds, [self.register, self.quality, self.water, self.weight, *updates])
        self.results['attempts'] = self.attempts

    @staticmethod
    def together(function, items):
        """At once."""
        with ThreadPoolExecutor(len(items)) as pool:
            for future in [pool.submit(function, item) for item in items]:
                future.result()

    def rounds(self, kind):
        """At the same moment; and once more, the second when the first has just written."""
        for number in range(2):
            self.meet(f'{kind.__name__} {number}')
            if number == 1 and self.place == 1:
                time.sleep(self.plan['lag'])
            kind(number)

    def meet(self, step):
        """Wait until both are here."""
        folder = self.home.parent / step
        folder.mkdir(exist_ok=True)
        (folder / self.me).touch()
        while len(list(folder.iterdir())) < len(self.plan['people']):
            time.sleep(0.02)

    def attempt(self, path, what, function):
        """Until it is done, or told otherwise than that the record has changed."""
        for _ in range(ATTEMPTS):
            note = {'path': path, 'what': what, 'began': time.time(), 'told': 'done'}
            try:
                function()
            except requests.HTTPError as error:
                note['told'] = [error.response.status_code, error.response.text]
            note['ended'] = time.time()
            self.attempts.append(note)
            if note['told'] == 'done' or note['told'][0] != 409:
                return

    def json_of(self, endpoint):
        """A key more in the JSON column, as all of ibllib does it."""
        key = self.plan['records'][endpoint]

        def update(number):
            data = {f'{self.me} {number}': number}
            self.attempt(f'/{endpoint}/{key}', 'json', lambda: self.one.alyx.json_field_update(
                endpoint, key, 'json', data))
        update.__name__ = endpoint
        return update

    def quality(self, number):
        """The two writes of ibllib's `QC.update`."""
        eid, key = self.plan['records']['sessions'], f'{self.me} {number}'
        self.attempt(f'/sessions/{eid}', 'extended_qc', lambda: self.one.alyx.json_field_update(
            'sessions', eid, 'extended_qc', {key: 'PASS'}))

        def write():
            self.one.alyx.rest('sessions', 'read', id=eid)
            data = {'qc': 'WARNING', 'narrative': key}
            self.one.alyx.rest('sessions', 'partial_update', id=eid, data=data)
        self.attempt(f'/sessions/{eid}', 'narrative', write)

    def register(self, number):
        """A session of one's own, then files of the other's, which is there by now."""
        session = 7 + (self.place + number) % 2
        path = self.home.joinpath(self.plan['subject'], self.plan['day'], f'{session:03}')
        file = path / 'alf' / ('spikes.times.npy' if number == 0 else 'spikes.clusters.npy')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'{self.me} {number}')
        self.attempt('/sessions', 'register', lambda: self.registration.register_session(
            path, file_list=False))
        self.attempt('/register-file', 'register', lambda: self.registration.register_files(
            [file], repository=self.plan['repository'], created_by=self.me))

    def water(self, number):
        """Gives water, and looks who has given some."""
        volume, subject = 7 + self.place / 10 + number / 100, self.plan['subject']
        self.attempt('/water-administrations', 'create', lambda: self.registration.register_water_administration(
            subject, volume))
        given = self.one.alyx.rest('water-administrations', 'list', nickname=subject)
        self.seen('water', volume, [record['water_administered'] for record in given])
        needed = self.one.alyx.rest('water-requirement', 'read', id=subject)
        self.note(f'water-requirement {number}', needed)

    def weight(self, number):
        """Weighs, and reads it."""
        weight, subject = 70 + self.place + number / 10, self.plan['subject']
        self.attempt('/weighings', 'create', lambda: self.registration.register_weight(subject, weight))
        weighed = self.one.alyx.rest('weighings', 'list', nickname=subject)
        self.seen('weight', weight, [record['weight'] for record in weighed])

    def seen(self, kind, value, values):
        """Whoever was told that it is done reads it."""
        self.note(f'{kind} {value}', any(one is not None and abs(one - value) < 1e-6 for one in values))


if __name__ == '__main__':
    main(Person)
