#!/usr/bin/env python3
"""Writes a C file that holds the files of the page: embed.py OUT.c FILE..."""
import os
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml"}


def main():
    out_path, paths = sys.argv[1], sorted(sys.argv[2:], key=os.path.basename)
    lines = ['#include "tide/web/web.h"', ""]
    table = []
    for n, path in enumerate(paths):
        name = os.path.basename(path)
        with open(path, "rb") as f:
            data = f.read()
        lines.append("static const unsigned char file_%d[] = {" % n)
        for at in range(0, len(data), 24):
            lines.append("    " + "".join("%d," % byte for byte in data[at:at + 24]))
        lines.append("};")
        url = "/" if name == "index.html" else "/" + name
        table.append('    {"%s", "%s", file_%d, sizeof(file_%d)},' % (url, TYPES[os.path.splitext(name)[1]], n, n))
    lines += ["", "const struct tide_web_file tide_web_files[] = {", *table, "    {0},", "};", ""]
    with open(out_path, "w") as f:
        f.write("\n".join(lines))


if __name__ == "__main__":
    main()
