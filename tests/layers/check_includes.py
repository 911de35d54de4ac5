#!/usr/bin/env python3
"""No area includes what it may not know.

What each area may know stands in libmigrate/CMakeLists.txt, in layer order: only areas named before
it, only those it names, only their public headers. Linking alone would not tell of a type or macro
taken from above.
"""

import itertools
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "libmigrate"
EVERYBODYS = "base/fault.h"  # nothing in a build for use, so that it is not installed
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)


def read_areas(faults):
    """{area: the areas it may know}; what is off about the table itself goes into faults."""
    text = re.sub(r"#.*", "", (LIBRARY / "CMakeLists.txt").read_text())
    areas = {}
    for body in re.findall(r"\bmig_area\(([^)]*)\)", text):
        name, *words = body.split()
        may = words[words.index("KNOWS") + 1:] if "KNOWS" in words else []
        may = list(itertools.takewhile(lambda word: not word.isupper(), may))
        faults += [f"libmigrate/CMakeLists.txt: {name} names {lower}, which is not below it"
                   for lower in may if lower not in areas]
        areas[name] = set(may)
    faults += [f"libmigrate/{folder.name}: not in libmigrate/CMakeLists.txt"
               for folder in sorted(LIBRARY.iterdir())
               if folder.is_dir() and any(folder.glob("*.c")) and folder.name not in areas]
    return areas


def includes_of(area, may):
    for path in sorted((LIBRARY / area).glob("*.[ch]")):
        place = path.relative_to(ROOT)
        for name in INCLUDE.findall(path.read_text()):
            parts = name.split("/")
            if parts[0] in ("tools", "tests"):
                yield f"{place}: includes {name}: the library knows no tool and no test"
            elif parts[0] == "libmigrate" and len(parts) == 3 and parts[1] != area:
                if parts[1] not in may:
                    yield f"{place}: includes {name}: {area} may not know {parts[1]}"
                elif parts[2] != f"{parts[1]}.h" and "/".join(parts[1:]) != EVERYBODYS:
                    yield f"{place}: includes {name}: only {parts[1]}.h is public"


def main():
    faults = []
    areas = read_areas(faults)
    for area, may in areas.items():
        faults += includes_of(area, may)
    if not areas:
        faults.append("no mig_area() found in libmigrate/CMakeLists.txt")
    for fault in faults:
        print(fault)
    print(f"{len(areas)} areas, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
