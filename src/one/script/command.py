# The command ----------------------------------------------------------------------------------------------------------


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """ONE's log-in would not survive one."""

    def redirect_request(self, *_):
        return None


def behind(url, ca):
    """What is behind the proxy: the Alyx, whose data files they are, and the data server, where it gives files."""
    doubt = "is it an alyx-proxy? (--unchecked takes it all the same)"
    status = None
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise Failure(1, f"--ca {ca}: {error}") from None
    # The proxy is a neighbour: no other proxy lies between, whatever the environment says.
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), NoRedirect()]
    try:
        with urllib.request.build_opener(*handlers).open(f"{url}/-/one-setup.json", timeout=5) as answer:
            status, body = answer.status, answer.read()
        told = json.loads(body)
        return told["upstream"]["url"] + "", (told.get("data") or {}).get("origin")
    except urllib.error.HTTPError as error:
        to = error.headers.get("Location")
        where = f" and sends to {to}" if to else ""
        raise Failure(1, f"{url} answered with status {error.code}{where}: {doubt}") from None
    except (ValueError, KeyError, TypeError) as error:
        if status is None:
            raise Failure(1, f"{url} can't be asked: {error}") from None
        raise Failure(1, f"{url} answered with status {status}: {doubt}") from None
    except urllib.error.URLError as error:
        if getattr(error.reason, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            raise Failure(1, f"{url} does not speak https; is it http? ({error.reason})") from None
        if isinstance(error.reason, ssl.SSLError):
            why = f"{url} can't be trusted: {error.reason} (--ca FILE names a lab's own authority)"
            raise Failure(1, why) from None
        raise Failure(3, f"no proxy is running at {url}: {error.reason}") from None
    except http.client.BadStatusLine as error:
        why = error if isinstance(error, http.client.RemoteDisconnected) else "what came is no HTTP; is it https?"
        raise Failure(1, f"{url} took the request, but did not answer it: {why}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Failure(1, f"{url} took the request, but did not answer it: {error}") from None


def arguments(given):
    """What is wanted."""
    about = "Make a proxy the database that ONE asks, on this machine and for this user. Writes ONE's own parameter "
    about += "files, and keeps the present folder for data files, so that nothing is downloaded again."
    parser = argparse.ArgumentParser(prog="one-setup", allow_abbrev=False, description=about)

    def switch(name, what):
        parser.add_argument(name, action="store_true", help=what)

    def value(name, kind, what):
        parser.add_argument(name, metavar=kind, help=what)

    value("--url", "URL", f"the proxy's URL [default: {URL}]")
    switch("--json", "as JSON, for other programs")
    switch("--data", "have data files come through the proxy, too (its setting files.enabled)")
    switch("--undo", "put back what was there before, byte for byte: of the proxy at --url, or of all")
    switch("--force", "with --undo: also where somebody has changed a file since")
    value("--like", "URL", "take over folder and parameters of this database [default: the Alyx behind the proxy]")
    value("--username", "NAME", "your user name in Alyx [default: the one that ONE has]")
    switch("--dry-run", "only show what would change")
    switch("--unchecked", "don't ask the proxy whether it is one")
    value("--ca", "FILE", "trust certificates of the authorities in this file (PEM), and no others")
    value("--home", "DIR", "another home directory than yours")
    flags = parser.parse_args(given)
    if flags.home == "":
        parser.error("--home: a folder is needed")
    others = [flags.like, flags.username, flags.ca]
    if flags.data and flags.unchecked:
        parser.error("--data does not go with --unchecked")
    switched = flags.data or flags.dry_run or flags.unchecked
    if flags.undo and (switched or any(other is not None for other in others)):
        parser.error("--undo goes with --url, --force, --home and --json only")
    if flags.force and not flags.undo:
        parser.error("--force goes with --undo only")
    return flags


def run_undo(home, flags):
    """--undo"""
    undone = undo(home, None if flags.url is None else address(flags.url), flags.force)
    files = [{"path": str(path), "change": change} for change, path in undone["files"]]
    if flags.json:
        told = {"files": files, "default": undone["default"], "left": undone["left"]}
        return json.dumps(told, indent=2, ensure_ascii=False)
    lines = [f"{file['change']:<8} {file['path']}" for file in files]
    if undone["default"] is None:
        lines.append("ONE has no default database now.")
    else:
        lines.append(f"ONE() asks {undone['default']} now.")
    if undone["left"]:
        lines.append(f"Still set up: {', '.join(undone['left'])}.")
    return "\n".join(lines)


def run(flags):
    """All of it; what there is to say."""
    base, folder, downloads = places(flags.home)
    if flags.undo:
        return run_undo(Home(base, folder), flags)
    url = address(URL if flags.url is None else flags.url)
    upstream, data = (None, None) if flags.unchecked else behind(url, flags.ca)
    if flags.data and data is None:
        raise Failure(1, f"--data: {url} gives no data files (its setting files.enabled)")
    wanted = {"url": url, "upstream": upstream, "like": flags.like, "username": flags.username}
    wanted["data"] = data if flags.data else None
    planned = plan(Home(base, folder), downloads, wanted)
    if not flags.dry_run:
        set_up(planned)
    url = one_url(wanted)
    changes = [("new" if before is None else "changed", str(path)) for path, before, _ in planned["changes"]]
    if flags.json:
        files = [{"path": path, "change": change} for change, path in changes]
        told = {"url": url, "cache_dir": planned["cache_dir"], "like": planned["like"]}
        told.update(default_before=planned["default"], files=files, dry_run=flags.dry_run, notes=planned["notes"])
        return json.dumps(told, indent=2, ensure_ascii=False)
    lines = [f"{change:<8} {path}" for change, path in changes]
    if not changes:
        lines.append(f"Nothing to change: ONE() asks {url} already.")
    elif flags.dry_run:
        lines.append("Nothing was changed (--dry-run).")
    else:
        before = "" if planned["default"] is None else f" (before: {planned['default']})"
        lines.append(f"ONE() asks {url} from now on{before}. The same line with ` --undo` behind it puts it back.")
    of = "" if planned["like"] is None else f", the folder of {planned['like']}"
    lines.append(f"Data files stay in {planned['cache_dir']}{of}.")
    return "\n".join(lines + planned["notes"])


def main(given):
    """Does what is wanted; the exit status."""
    global ARRIVED
    ARRIVED = True
    try:
        flags = arguments(given)
        if sys.stdout is not None:
            sys.stdout.reconfigure(encoding="utf-8" if flags.json else None, errors="backslashreplace")
        print(run(flags), flush=True)
        return 0
    except BrokenPipeError:
        # It is done, and nobody listens; nor may Python's own last words go there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        status, text = 130, "stopped; all files are as they were, or all are written"
    except Failure as failure:
        status, text = failure.status, str(failure)
    except OSError as error:
        where = "standard output" if error.filename is None else error.filename
        status, text = 1, f"{where}: {error.strerror} (os error {error.errno})".replace(NEW, "")
    sys.stderr.write(f"one-setup: {text}\n")
    return status


# The last line: a script that was cut short on its way does nothing.
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
