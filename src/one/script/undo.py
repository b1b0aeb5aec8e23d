# Putting back ---------------------------------------------------------------------------------------------------------


def read_list(store):
    """What is kept of the time before; None where nothing was set up."""
    path = store / LIST
    data = read(path)
    if data is None:
        return None
    kept = parse(path, data)
    files = kept.get("files")
    if not isinstance(files, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in files
    ):
        raise strange(path, "no list of files")
    for entry in files:
        # Names come from a file: they must not lead elsewhere.
        if Path(entry["name"]).name != entry["name"]:
            raise strange(path, f'"{entry["name"]}" is no file\'s name')
    # Earlier versions have not noted which proxies were set up.
    names = [entry["name"][1:] for entry in files if entry["name"] != CACHES]
    return {"set_up": kept.get("set_up") or names, "files": files, "folders": kept.get("folders", [])}


def entry_of(kept, name):
    """What is kept of a file."""
    return next((entry for entry in kept["files"] if entry["name"] == name), None)


def lasting(path, data):
    """BLAKE2s of the parameters that ONE does not change by itself: all but the user and the tokens. None where these
    are no parameters."""
    try:
        parameters = parse(path, data)
    except Failure:
        return None
    names = [name for name in sorted(parameters) if name not in ("ALYX_LOGIN", "TOKEN")]
    return digest(render({name: parameters[name] for name in names}))


def unless_changed(path, entry, original, force):
    """Fails where somebody else has changed a file since."""
    now = read(path)
    # ONE writes its token into the file that was made for the proxy: that one goes in any case.
    made_for_proxy = entry.get("mode") is None
    if force or made_for_proxy or now == original:
        return
    if now is not None and "parameters" in entry and lasting(path, now) == entry["parameters"]:
        return
    if "blake2s" not in entry:
        raise Failure(1, f"{path} was set up by an earlier alyx-proxy: undo it by that command, or with --force")
    if now is None or digest(now) != entry["blake2s"]:
        raise Failure(1, f"{path} has been changed since it was set up; --force puts the old one back all the same")


def undo(home, url, force):
    """Puts back what was there before: of everything, or of one proxy. What was added to the list of databases since
    stays there."""
    folder = home.folder
    home.sweep()
    store = folder / STORE
    kept = read_list(store)
    if kept is None:
        raise Failure(2, f"{folder}: alyx-proxy has set up nothing here, so there is nothing to undo")
    # The one that was set up last, where it was set up with data files and without.
    names = [] if url is None else [key(url), key(url + VIEW)]
    one = next((name for name in reversed(kept["set_up"]) if name in names), None)
    if url is not None and one is None:
        raise Failure(2, f"{url} has not been set up here; what has: {', '.join(kept['set_up'])}")
    left = [] if one is None else [name for name in kept["set_up"] if name != one]
    if left:
        done = undo_one(folder, store, kept, one, left, force)
    else:
        done = undo_all(home, store, kept, force)
    caches = read(folder / CACHES)
    default = parse(folder / CACHES, caches).get("DEFAULT")
    return {"files": done, "default": default if isinstance(default, str) else None, "left": left}


def put_back(folder, store, entry, force):
    """How a file is put back: what was done, and what is to be written."""
    done, write = as_it_was(folder, store, entry)
    unless_changed(folder / entry["name"], entry, write[1], force)
    return done, write


def as_it_was(folder, store, entry):
    """The same, whatever stands there now."""
    path = folder / entry["name"]
    original = read(store / f"original{entry['name']}")
    if entry.get("mode") is None:
        return ("removed", path), (path, None, None)
    if original is None:
        raise strange(store / LIST, f"the original of {entry['name']} is gone")
    return ("restored", path), (path, original, entry["mode"])


def caches_back(folder, store, entry, set_up, force):
    """How the list of databases is put back: as it was where nobody else has changed it since, and otherwise without
    these proxies only."""
    path = folder / CACHES
    now = read(path)
    if now is None or digest(now) == entry.get("blake2s"):
        return as_it_was(folder, store, entry)
    if "written" in entry:
        unless_changed(path, entry, as_it_was(folder, store, entry)[1][1], force)
    try:
        caches = parse(path, now)
    except Failure:
        if force:
            return as_it_was(folder, store, entry)
        raise
    original_path = store / f"original{CACHES}"
    before = parse(original_path, read(original_path))
    known = caches.get("CLIENT_MAP", {})
    if not isinstance(known, dict):
        raise strange(path, "CLIENT_MAP is no map")
    for name in set_up:
        take_out(known, name, before)
    if caches.get("DEFAULT") in set_up:
        if "DEFAULT" in before:
            caches["DEFAULT"] = before["DEFAULT"]
        else:
            caches.pop("DEFAULT")
    if not known and "CLIENT_MAP" not in before:
        caches.pop("CLIENT_MAP", None)
    if json.dumps(caches, sort_keys=True) == json.dumps(before, sort_keys=True):
        return as_it_was(folder, store, entry)
    return ("changed", path), (path, render(caches), mode_of(path))


def take_out(known, name, before):
    """Takes a proxy out of the databases that ONE knows: what stood there before is back."""
    original = before.get("CLIENT_MAP")
    if isinstance(original, dict) and name in original:
        known[name] = original[name]
    else:
        known.pop(name, None)


def undo_all(home, store, kept, force):
    """Everything is as it was before the first proxy was set up."""
    folder = home.folder
    backs = []
    # The default comes first: a crash in between leaves ONE with one that it knows.
    for entry in sorted(kept["files"], key=lambda entry: entry["name"] != CACHES):
        if entry["name"] == CACHES:
            backs.append(caches_back(folder, store, entry, kept["set_up"], force))
        else:
            backs.append(put_back(folder, store, entry, force))
    writes = [write for _, write in backs]
    writes.append((store / LIST, None, None))
    # Also those of a run that was killed.
    writes += [(path, None, None) for path in store.iterdir() if path.name.startswith("original.")]
    commit([], writes)
    # Folders that were made here and hold nothing.
    for empty in [store, folder, *filter(home.holds, map(Path, reversed(kept["folders"])))]:
        quietly(empty.rmdir)
    return [done for done, _ in backs]


def undo_one(folder, store, kept, one, left, force):
    """One proxy of several: its parameters are put back, and the default is the one that was set up before it."""
    path = folder / CACHES
    before = read(path)
    caches = parse(path, before)
    known = caches.get("CLIENT_MAP", {})
    if not isinstance(known, dict):
        raise strange(path, "CLIENT_MAP is no map")
    original_path = store / f"original{CACHES}"
    take_out(known, one, parse(original_path, read(original_path)))
    if caches.get("DEFAULT") == one:
        caches["DEFAULT"] = left[-1]
    after = render(caches)
    done, writes = [], []
    if after != before:
        entry = entry_of(kept, CACHES)
        if entry is not None and before is not None and entry.get("blake2s") == digest(before):
            entry["blake2s"] = digest(after)
        done.append(("changed", path))
        writes.append((path, after, 0o600 if before is None else mode_of(path)))
    entry = entry_of(kept, f".{one}")
    if entry is not None:
        back, write = put_back(folder, store, entry, force)
        done.append(back)
        writes.append(write)
        kept["files"].remove(entry)
    kept["set_up"] = left
    writes.append((store / LIST, render(kept), 0o600))
    if entry is not None:
        writes.append((store / f"original{entry['name']}", None, None))
    commit([], writes)
    return done


