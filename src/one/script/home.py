# The home that is set up ----------------------------------------------------------------------------------------------


class Home:
    """A home, for as long as it is being set up: a second run in it waits until this one ends."""

    def __init__(self, base, folder):
        """Fails where its name can't stand in ONE's files or where, in somebody else's home, a link lies among them."""
        self.base, self.folder = base, folder
        try:
            os.fsencode(folder).decode("utf-8")
        except UnicodeError:
            raise Failure(1, f"{base}: the name of the home is no UTF-8, as ONE's files are") from None
        try:
            # What lies in somebody else's home is not to be trusted.
            self.foreign = hasattr(os, "geteuid") and base.stat().st_uid != os.geteuid()
        except OSError:
            self.foreign = False
        # Some network file systems know no locks: it goes on without.
        quietly(self.lock)
        self.refuse_links()

    # What is locked, as a file's number.
    held = None

    def lock(self):
        """Until the process ends, or locks a home again."""
        if Home.held is not None:
            os.close(Home.held)
            Home.held = None
        if sys.platform == "win32":
            import msvcrt

            name = os.path.join(tempfile.gettempdir(), "alyx-proxy-one-setup.lock")
            Home.held = os.open(name, os.O_RDWR | os.O_CREAT)
            msvcrt.locking(Home.held, msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            Home.held = os.open(self.base, os.O_RDONLY)
            fcntl.flock(Home.held, fcntl.LOCK_EX)

    def refuse_links(self):
        """A link in somebody else's home could lead root's hand anywhere."""
        if not self.foreign:
            return
        paths = [self.folder]
        for folder in (self.folder, self.folder / STORE):
            self.refuse_link(paths)
            try:
                paths = sorted([*paths, *folder.iterdir()])
            except OSError:
                pass
        self.refuse_link(paths)

    def refuse_link(self, paths):
        """The first link among these."""
        for path in paths:
            if path.is_symlink():
                raise Failure(1, f"{path} is a link, and the home is somebody else's: no link is followed there")

    def holds(self, path):
        """Whether folders may be made, or removed, at this place: in somebody else's home, not outside it."""
        if not self.foreign:
            return True
        while not path.exists():
            path = path.parent
        home = Path(os.path.realpath(self.base))
        real = Path(os.path.realpath(path))
        return real == home or home in real.parents

    def sweep(self):
        """Removes what a run that was killed has left."""
        for folder in (self.folder, self.folder / STORE):
            try:
                left = [path for path in folder.iterdir() if path.name.endswith(NEW)]
            except OSError:
                continue
            for path in left:
                # A folder of that name is not ours.
                quietly(remove, path)


