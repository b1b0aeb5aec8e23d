# Files ----------------------------------------------------------------------------------------------------------------


def read(path):
    """A file's bytes; None where there is no file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def parse(path, data):
    """A parameter file's content; empty where there is no file. Numbers that would not come out as they went in are
    refused: ONE writes none."""

    def whole(text):
        if text == "-0" or not -(2**63) <= int(text) < 2**64:
            raise ValueError(f"the number {text}")
        return int(text)

    def refuse(text):
        raise ValueError(f"the number {text}")

    if data is None:
        return {}
    try:
        value = json.loads(data.decode("utf-8"), parse_int=whole, parse_float=refuse, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise strange(path, error) from None
    if not isinstance(value, dict):
        raise strange(path, "no map")
    return value


def render(value):
    """As ONE writes it."""
    return json.dumps(value, indent=4).encode("ascii")


def digest(data):
    """By which what was written is known again."""
    return hashlib.blake2s(data).hexdigest()


def mode_of(path):
    """A file's permissions."""
    return path.stat().st_mode & 0o777


def give(path, model):
    """Gives what root has made in somebody's home to that somebody."""
    owner = model.stat()
    if hasattr(os, "chown") and path.stat().st_uid != owner.st_uid:
        try:
            os.chown(path, owner.st_uid, owner.st_gid)
        except OSError:
            pass


def absent(folder):
    """The folder and those above it that are not there, the outermost first."""
    missing = []
    while not folder.exists():
        missing.insert(0, folder)
        folder = folder.parent
    return missing


def beside(path):
    """Where a file lies until it takes its place."""
    return path.with_name(path.name + NEW)


def stage(path, data, mode):
    """Writes what is to replace a file beside it."""
    new = beside(path)
    remove(new)
    number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with open(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # A full disk does not say which file it was.
        error.filename = error.filename or str(path)
        raise
    os.chmod(new, mode)
    give(new, path if path.exists() else path.parent)


def remove(path):
    """Removes a file, if there is one."""
    try:
        path.unlink()
    except FileNotFoundError:
        pass


def quietly(action, *arguments):
    """Does what can be done on the way back."""
    try:
        action(*arguments)
    except OSError:
        pass


def commit(folders, writes):
    """Makes folders, then writes files, or removes those whose content is None, in this order: all, or none. Everything
    is written beside the files first, so that what can go wrong goes wrong before anything has changed."""
    made, staged, done = [], [], []
    writes = [(Path(os.path.realpath(path)), data, mode) for path, data, mode in writes]
    try:
        for folder, mode in folders:
            for missing in absent(folder):
                missing.mkdir()
                made.append(missing)
                give(missing, missing.parent)
            if mode is not None:
                os.chmod(folder, mode)
        for path, data, mode in writes:
            if data is not None:
                staged.append(path)
                stage(path, data, mode)
        for path, data, _ in writes:
            before = read(path)
            done.append((path, before, None if before is None else mode_of(path)))
            if data is None:
                remove(path)
            else:
                os.replace(beside(path), path)
    except BaseException:
        for path in staged:
            quietly(remove, beside(path))
        for path, before, mode in reversed(done):
            if before is None:
                quietly(remove, path)
            elif quietly(stage, path, before, mode) is None:
                quietly(os.replace, beside(path), path)
        for folder in reversed(made):
            quietly(folder.rmdir)
        raise


