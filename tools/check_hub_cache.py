#!/usr/bin/env python3
"""Shows that `dunlin pull` and huggingface_hub read each other's cache, and writes what huggingface_hub's looks like to
tests/hub/data/huggingface_hub_cache.txt.

    pip install huggingface_hub==2.4.0
    tools/check_hub_cache.py build/release/bin/dunlin

The hub is a server in this process, with the model of tests/hub/hub_fixture.h: no network is needed."""

import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

REPO, COMMIT = "org/tiny", "0123456789abcdef0123456789abcdef01234567"
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests/hub/data/huggingface_hub_cache.txt"


def pattern_bytes(size, seed=1):
    """As hub_fixture.h has it."""
    data = bytearray(size)
    for i in range(size):
        seed = (seed * 1664525 + 1013904223) % 2**32
        data[i] = seed >> 24
    return bytes(data)


LARGE = {"model.safetensors": pattern_bytes(300_000)}
SMALL = {"config.json": b'{"model_type": "llama"}\n', "tokenizer.json": pattern_bytes(3000, 7), "README.md": b"# A model\n"}
FILES = LARGE | SMALL
WANTED = ["config.json", "model.safetensors", "tokenizer.json"]


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def etag(name):
    return hashlib.sha256(LARGE[name]).hexdigest() if name in LARGE else git_sha1(SMALL[name])


class Hub(http.server.BaseHTTPRequestHandler):
    seen = []
    storage = ""  # the address of the second server, which has the large files

    def log_message(self, *_):
        pass

    def reply(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        Hub.seen.append(self.path)
        path = self.path.split("?")[0]
        if path.startswith(f"/api/models/{REPO}/revision/"):
            siblings = [{"rfilename": name, "size": len(data), "blobId": git_sha1(data)} for name, data in FILES.items()]
            for each in siblings:
                if each["rfilename"] in LARGE:
                    each["lfs"] = {"size": each["size"], "sha256": etag(each["rfilename"]), "pointerSize": 134}
            self.reply(200, {}, json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(f"/api/models/{REPO}/tree/"):
            tree = [{"type": "file", "path": name, "size": len(data), "oid": git_sha1(data)} for name, data in FILES.items()]
            for each in tree:
                if each["path"] in LARGE:
                    each["lfs"] = {"size": each["size"], "oid": etag(each["path"]), "pointerSize": 134}
            self.reply(200, {}, json.dumps(tree).encode())
        elif path.startswith(f"/{REPO}/resolve/"):
            name = path.split("/", 5)[5]
            about = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(name)}"', "Accept-Ranges": "bytes"}
            if name in LARGE:
                about |= {"X-Linked-Etag": f'"{etag(name)}"', "X-Linked-Size": str(len(LARGE[name]))}
                self.reply(302, about | {"Location": f"{Hub.storage}/storage/{name}"})
            else:
                self.reply(200, about, SMALL[name])
        elif path.startswith("/storage/"):
            self.reply(200, {"ETag": '"other"'}, LARGE[path.split("/")[2]])
        else:
            self.reply(404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET


def environment(home, endpoint, **more):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    return clean | {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1",
                    "HF_HUB_DISABLE_PROGRESS_BARS": "1", "no_proxy": "127.0.0.1"} | more


def output_of(command, env):
    return subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def python(code, env):
    return output_of([sys.executable, "-c", code], env)


def layout(home):
    """Blobs with their sizes, revisions with their commits, links with their targets, a line each."""
    root, lines = home / "hub" / "models--org--tiny", []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if name.parts[0] not in ("blobs", "refs", "snapshots") or path.is_dir():
            continue
        told = f"-> {os.readlink(path)}" if path.is_symlink() else path.read_text() if name.parts[0] == "refs" else path.stat().st_size
        lines.append(f"{name} {told}\n")
    return "".join(lines)


def check(name, condition):
    print(f"{'ok' if condition else 'WRONG':6} {name}")
    if not condition:
        sys.exit(1)


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def main():
    dunlin = sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)
    endpoint, Hub.storage = serve(), serve()
    download = f"from huggingface_hub import snapshot_download; print(snapshot_download('{REPO}', allow_patterns={WANTED}))"
    scan = ("from huggingface_hub import scan_cache_dir; cache = scan_cache_dir(); "
            "print(len(cache.warnings), cache.size_on_disk, *sorted(f.file_name for r in cache.repos for v in r.revisions for f in v.files))")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = pathlib.Path(folder) / "ours", pathlib.Path(folder) / "theirs"

        path = output_of([dunlin, "pull", REPO, "-q"], environment(ours, endpoint))
        offline = environment(ours, endpoint, HF_HUB_OFFLINE="1")
        check("huggingface_hub finds offline what dunlin has pulled", python(download, offline) == path)
        size = sum(len(FILES[name]) for name in WANTED)
        check("its scan has every file and no warning", python(scan, offline) == f"0 {size} {' '.join(WANTED)}")
        Hub.seen.clear()
        python(download, environment(ours, endpoint))
        check("it fetches none of them again", not any(each.startswith("/storage/") for each in Hub.seen))

        path = python(download, environment(theirs, endpoint))
        found = output_of([dunlin, "pull", REPO, "-q", "--offline"], environment(theirs, endpoint))
        check("dunlin finds offline what huggingface_hub has downloaded", found == path)
        Hub.seen.clear()
        output_of([dunlin, "pull", REPO, "-q"], environment(theirs, endpoint))
        check("it fetches none of them again", len(Hub.seen) == 1)
        check("both caches are the same", layout(ours) == layout(theirs))
        GOLDEN.write_text(layout(theirs))
        print(f"wrote {GOLDEN}")


if __name__ == "__main__":
    main()
