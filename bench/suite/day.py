"""A lab's day: what twenty people and two rigs ask of Alyx, as the ONE client asks it (its requests per method).

The day is made of a seed. Ten hours are played in a minute: pauses and the time that answers count as fresh are shortened
by the same factor. What people ask is what others in the lab ask: few sessions and
queries are asked by many (each rank half as often as the one before the last).
"""

import http.client
import json
import random
import threading
import time
from urllib.parse import quote, urlsplit

PEOPLE = 20
RIGS = 2


def token(user: int) -> str:
    return f"Token {user:040d}"


class Client:
    """Asks as ONE does: a connection for each request, gzip asked for."""

    def __init__(self, port: int, user: int):
        self.port, self.user, self.times, self.failed = port, user, [], []

    def ask(self, path: str, method: str = "GET", body: dict | None = None):
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": token(self.user), "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
        text = None
        if body is not None:
            text = json.dumps(body)
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body=text, headers=headers)
        response = connection.getresponse()
        answer = response.read()
        if response.getheader("Content-Encoding") == "gzip":
            import gzip

            answer = gzip.decompress(answer)
        connection.close()
        self.times.append(time.monotonic() - began)
        if response.status == 429 or response.status >= 500:
            self.failed.append(f"{method} {path}: {response.status} {answer[:200]!r}")
        return json.loads(answer) if response.status < 300 and answer else None

    def pages(self, path: str) -> list:
        """All pages of a list, one after the other."""
        page = self.ask(path)
        records = list(page["results"]) if page else []
        while page and page["next"]:
            parts = urlsplit(page["next"])
            page = self.ask(f"{parts.path}?{parts.query}")
            records += page["results"] if page else []
        return records


class Day:
    """What is asked, by whom, in which order."""

    def __init__(self, port: int, small: bool):
        first = Client(port, 0)
        self.sessions = first.pages("/sessions")[:: 8 if small else 1]
        self.insertions = first.pages("/insertions")
        # Of two subjects of one name Alyx shows neither.
        self.subjects = [subject for subject in first.pages("/subjects") if not subject["nickname"].startswith("dup")]
        self.work, self.pause = (3, 0.01) if small else (24, 2.0)
        self.small = small

    @staticmethod
    def some(chance: random.Random, of: list):
        """One of a list, the first ones far more often."""
        return of[min(int(chance.paretovariate(0.6)) - 1, len(of) - 1)]

    def session(self, chance: random.Random, client: Client) -> None:
        """Looks at a session and loads from it: its detail, its datasets, its insertions, what lies along a probe."""
        eid = self.some(chance, self.sessions)["id"]
        client.ask(f"/sessions/{eid}")
        client.ask(f"/datasets?session={eid}&exists=True")
        insertions = client.ask(f"/insertions?session={eid}") or {"results": []}
        for insertion in insertions["results"][:2]:
            client.ask(f"/trajectories?probe_insertion={insertion['id']}")
            client.pages(f"/channels?probe_insertion={insertion['id']}")
        client.ask("/data-repository/aws_cortexlab")

    def search(self, chance: random.Random, client: Client) -> None:
        """Searches, and reads all pages of what it finds."""
        subject, lab = self.some(chance, self.subjects), self.some(chance, self.sessions)["lab"]
        client.ask(f"/subjects/{quote(subject['nickname'])}")
        client.pages(self.some(chance, [
            f"/sessions?lab={lab}",
            "/sessions?performance_gte=70&task_protocol=ephys",
            f"/sessions?subject={quote(subject['nickname'])}",
            "/sessions?dataset_types=spikes.times",
            f"/insertions?django={quote('session__projects__name__icontains,ibl')}",
            f"/subjects?lab={subject['lab']}&alive=True",
            f"/sessions?lab={lab}&date_range=2019-01-01,2020-01-01",
            "/sessions?atlas_acronym=CA1",
            "/trajectories?provenance=Planned",
        ]))

    def person(self, port: int, user: int) -> Client:
        chance, client = random.Random(user), Client(port, user)
        for path in ("/dataset-types", "/labs", "/projects"):
            client.pages(path)
        for _ in range(self.work):
            time.sleep(chance.expovariate(1 / self.pause))
            chance.choice((self.session, self.session, self.search))(chance, client)
        return client

    def rig(self, port: int, user: int) -> Client:
        """Weighs animals, and asks before and after, uncached, as `register_weight` does."""
        chance, client = random.Random(user), Client(port, user)
        for _ in range(self.work // 2):
            time.sleep(chance.expovariate(0.5 / self.pause))
            subject = chance.choice(self.subjects)["nickname"]
            client.ask(f"/subjects/{quote(subject)}")
            client.ask(f"/users/user{user}")
            client.ask("/weighings", "POST", {"subject": subject, "weight": round(chance.uniform(18, 28), 1), "user": f"user{user}",
                                              "date_time": f"2026-11-26T{chance.randrange(8, 18):02d}:00:00"})
            client.ask("/tasks?status=Waiting&limit=5")
        return client

    def play(self, port: int) -> list[Client]:
        """All of it at once; what each came by."""
        done: list[Client] = []
        lock = threading.Lock()

        def run(what, user):
            client = what(port, user)
            with lock:
                done.append(client)

        everybody = [(self.person, user) for user in range(PEOPLE)] + [(self.rig, PEOPLE + n) for n in range(RIGS)]
        threads = [threading.Thread(target=run, args=one) for one in everybody]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(done) != len(everybody):
            raise RuntimeError("somebody did not get through the day")
        return done
