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


def unless_changed(path, entry, original, force):
    """Fails where somebody else has changed a file since."""
    now = read(path)
    # ONE writes its token into the file that was made for the proxy: that one goes in any case.
    made_for_proxy = entry.get("mode") is None and entry["name"] != CACHES
    if force or made_for_proxy or now == original:
        return
    if "blake2s" not in entry:
        raise Failure(1, f"{path} was set up by an earlier alyx-proxy: undo it by that command, or with --force")
    if now is None or digest(now) != entry["blake2s"]:
        raise Failure(1, f"{path} has been changed since it was set up; --force puts the old one back all the same")


def undo(folder, url, force):
    """Puts back what was there before: of everything, or of one proxy."""
    store = folder / STORE
    kept = read_list(store)
    if kept is None:
        raise Failure(2, f"{folder}: alyx-proxy has set up nothing here, so there is nothing to undo")
    one = None if url is None else key(url)
    if one is not None and one not in kept["set_up"]:
        raise Failure(2, f"{url} has not been set up here; what has: {', '.join(kept['set_up'])}")
    left = [] if one is None else [name for name in kept["set_up"] if name != one]
    if left:
        done = undo_one(folder, store, kept, one, left, force)
    else:
        done = undo_all(folder, store, kept, force)
    caches = read(folder / CACHES)
    default = parse(folder / CACHES, caches).get("DEFAULT")
    return {"files": done, "default": default if isinstance(default, str) else None, "left": left}


def put_back(folder, store, entry, force):
    """How a file is put back: what was done, and what is to be written."""
    path = folder / entry["name"]
    original = read(store / f"original{entry['name']}")
    if entry.get("mode") is None:
        unless_changed(path, entry, None, force)
        return ("removed", path), (path, None, None)
    if original is None:
        raise strange(store / LIST, f"the original of {entry['name']} is gone")
    unless_changed(path, entry, original, force)
    return ("restored", path), (path, original, entry["mode"])


def undo_all(folder, store, kept, force):
    """Everything is as it was before the first proxy was set up."""
    backs = [put_back(folder, store, entry, force) for entry in kept["files"]]
    writes = [write for _, write in backs]
    writes += [(store / LIST, None, None)]
    writes += [(store / f"original{entry['name']}", None, None) for entry in kept["files"]]
    commit([], writes)
    # Folders that were made here and hold nothing.
    for empty in [store, folder, *map(Path, reversed(kept["folders"]))]:
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
    original_bytes = read(original_path)
    original = parse(original_path, original_bytes).get("CLIENT_MAP")
    if isinstance(original, dict) and one in original:
        known[one] = original[one]
    else:
        known.pop(one, None)
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


