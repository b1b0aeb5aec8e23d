"""What a fresh ONE does first, with nothing that an earlier one has left: the first searches, and one session."""
from scenario import REMOTE, Scenario, main


class Fresh(Scenario):
    """The first questions, and what they gave."""

    def run(self):
        """All of them."""
        eids = sorted(map(str, self.one.search(lab='cortexlab', **REMOTE)))
        self.note('search', eids)
        self.note('first', eids[0])
        self.note('session', self.one.alyx.rest('sessions', 'read', id=eids[0]))
        self.note('list_datasets', self.one.list_datasets(eids[0], **REMOTE))


if __name__ == '__main__':
    main(Fresh)
