# Setting up -----------------------------------------------------------------------------------------------------------


def plan(home, downloads, wanted):
    """What must change in ONE's folder."""
    folder = home.folder
    caches_path = folder / CACHES
    caches_before = read(caches_path)
    caches = parse(caches_path, caches_before)
    known = caches.get("CLIENT_MAP", {})
    if not isinstance(known, dict):
        raise strange(caches_path, "CLIENT_MAP is no map")
    default = caches.get("DEFAULT")
    url, upstream = one_url(wanted), wanted["upstream"]
    own = key(url)
    set_up = (read_list(folder / STORE) or {"set_up": []})["set_up"]
    like = taken_over(known, own, own in set_up, wanted)

    cache_dir = known.get(like)
    if not isinstance(cache_dir, str) or not cache_dir:
        cache_dir = os.fsencode(downloads / (own if upstream is None else key(upstream))).decode("utf-8")
    elif not os.path.isabs(cache_dir):
        why = "is no absolute path, so that ONE takes another one wherever it is started; give it an absolute one first"
        raise Failure(
            1, f"{caches_path}: the folder of {like}, {cache_dir}, {why}: ONE.setup(base_url=\u2026, cache_dir=\u2026)"
        )
    path = folder / f".{own}"
    before = read(path)
    parameters = parse(path, before)
    model = dict(parameters)
    if like is not None and like != own:
        model = parse(folder / f".{like}", read(folder / f".{like}"))
    parameters["ALYX_URL"] = url
    for name, otherwise in KEPT.items():
        parameters[name] = model.get(name, otherwise)
    if wanted["data"] is not None:
        parameters["HTTP_DATA_SERVER"] = data_server(parameters["HTTP_DATA_SERVER"], wanted["data"], wanted["url"])
    if wanted["username"] is not None:
        parameters["ALYX_LOGIN"] = wanted["username"]
    others = [name for name in known if name != own]
    # Two names of one proxy have one folder.
    has_own_folder = like is None and not any(known[name] == cache_dir for name in others)
    found = notes(wanted, others if has_own_folder else [])
    aside = known.get(own)
    if isinstance(aside, str) and aside not in ("", cache_dir) and holds_data(aside):
        found.insert(
            0,
            f"Until now ONE had a folder for this proxy, {aside}, with files in it. They stay there, and ONE will not "
            f"find them: move them into {cache_dir} if they are wanted.",
        )
    if not isinstance(parameters["ALYX_LOGIN"], str) or not parameters["ALYX_LOGIN"]:
        found.append(
            "ONE has no user name of yours yet. ONE 3 asks for it; for ONE 2 run this again with --username and your "
            "name in Alyx."
        )
    known[own] = cache_dir
    caches["CLIENT_MAP"] = known
    caches["DEFAULT"] = own
    changes = [(path, before, render(parameters)), (caches_path, caches_before, render(caches))]
    return {
        "home": home,
        "own": own,
        "changes": [change for change in changes if change[1] != change[2]],
        "cache_dir": cache_dir,
        "like": like,
        "default": default if isinstance(default, str) else None,
        "notes": found,
    }


def one_url(wanted):
    """The URL that ONE asks."""
    return wanted["url"] + ("" if wanted["data"] is None else VIEW)


def data_server(present, origin, url):
    """What the data server that ONE has is through the proxy at this URL: what stands behind the host stays."""
    here = url + DATA
    for base in (here, origin):
        if isinstance(present, str) and (present == base or present.startswith(base + "/")):
            return here + present[len(base) :].rstrip("/")
    return here


def holds_data(folder):
    """Whether a folder holds data files. What begins with a dot is ONE's own cache of answers."""
    try:
        return os.path.isabs(folder) and any(not name.startswith(".") for name in os.listdir(folder))
    except (OSError, ValueError):
        return False


def taken_over(known, own, is_set_up, wanted):
    """The database whose folder and parameters are taken over: the named one, this proxy if it was set up before, the
    Alyx behind it, this proxy as ONE itself has made it. No other one: its files and its user would be another Alyx's.
    """
    if wanted["like"] is not None:
        name = key(wanted["like"])
        if name not in known:
            raise Failure(2, f"ONE knows no database {wanted['like']}; it knows: {', '.join(known)}")
        return name
    upstream = None if wanted["upstream"] is None else key(wanted["upstream"])
    plain = None if wanted["data"] is None else key(wanted["url"])
    for name in (own if is_set_up else None, upstream, plain, own):
        if name in known:
            return name
    return None


def notes(wanted, others):
    """What the user should know besides. `others` are the databases that could have been taken over, and were not."""
    found = []
    names = ", ".join(others)
    if others and wanted["upstream"] is not None:
        found.append(
            f"None of the databases that ONE knows ({names}) is {wanted['upstream']}, the Alyx behind this proxy: its "
            "data files have a folder of their own. If it is one of these under another name, run this again with "
            "--like and that name."
        )
    elif others:
        found.append(
            "The proxy was not asked which Alyx is behind it (--unchecked): its data files have a folder of their own. "
            f"If ONE knows that Alyx ({names}), run this again with --like and its name."
        )
    if wanted["url"].startswith("https://"):
        found.append(
            "Of certificates ONE trusts those of public authorities. For a lab's own set REQUESTS_CA_BUNDLE: "
            f"{wanted['url']}/-/docs/one#a-labs-own-certificates"
        )
    return found


def set_up(plan):
    """Does it. What was there is kept first, so that it can be put back."""
    if not plan["changes"]:
        return
    home, own = plan["home"], plan["own"]
    folder = home.folder
    store = folder / STORE
    kept = read_list(store) or {"set_up": [], "files": [], "folders": []}
    # ONE writes UTF-8, whatever the locale says of names of files.
    cache_dir = Path(os.fsdecode(plan["cache_dir"].encode("utf-8")))
    missing = absent(cache_dir)
    if missing and not home.holds(cache_dir):
        why = "is not there, and lies outside the home, which is somebody else's: make that folder first"
        raise Failure(1, f"{cache_dir} {why}")
    home.sweep()
    kept["folders"] += [os.fsencode(path).decode("utf-8") for path in missing]
    # The one that was set up last stands last.
    kept["set_up"] = [name for name in kept["set_up"] if name != own] + [own]
    writes = []
    for path, before, after in plan["changes"]:
        entry = entry_of(kept, path.name)
        if entry is None:
            entry = {"name": path.name, "mode": None if before is None else mode_of(path)}
            kept["files"].append(entry)
            if before is not None:
                writes.append((store / f"original{path.name}", before, 0o600))
        for outdated in ("written", "parameters"):
            entry.pop(outdated, None)
        entry["blake2s"] = digest(after)
        if path.name != CACHES:
            entry["parameters"] = lasting(path, after)
    writes.append((store / LIST, render(kept), 0o600))
    for path, before, after in plan["changes"]:
        writes.append((path, after, 0o600 if before is None else mode_of(path)))
    commit([(folder, None), (cache_dir, None), (store, 0o700)], writes)


