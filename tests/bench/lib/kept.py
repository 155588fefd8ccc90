"""The file of results, to which each scenario adds its own as soon as it is over. A result is one line: what was run, when, with what, and
either its `figures` or, in `failed`, why there are none."""
import json
import os


def read(path):
    """Its results; those of the old form have the versions at the top of the file."""
    if not os.path.exists(path):
        return []
    with open(path) as f:
        kept = json.load(f)
    return [{"versions": kept.get("versions", {}), **result} for result in kept["results"]]


def add(path, result):
    """Whole or not at all, whenever this program ends; and to what others have added meanwhile."""
    lines = ",\n  ".join(json.dumps(one, ensure_ascii=False) for one in [*read(path), result])
    with open(f"{path}.new", "w") as f:
        f.write(f'{{"results": [\n  {lines}\n]}}\n')
        f.flush()
        os.fsync(f.fileno())
    os.replace(f"{path}.new", path)
